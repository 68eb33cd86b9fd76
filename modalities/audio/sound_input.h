#pragma once
// A sound file as tensors, by modalities/media where that is built, by core/io's WAV reader where it is not.

#include <filesystem>
#include <memory>
#include <string>

#include <ATen/core/Tensor.h>

namespace thaw::audio {

/// What sounds become; see SoundShape.
struct SoundForm {
  std::int64_t rate_hz = 16000, channels = 1;
  std::string quality = "good";
};

/// True where rates can be changed and other files than WAV be read.
bool has_media();

/// One file open for reading. Latents (.npy, .safetensors) are sounds without a rate: they are read as they are,
/// whatever rate is wanted, and 0 channels are those they have. Throws DataError "path: cannot ..." naming the cause;
/// without media also for what is no WAV and for another rate than the one wanted.
class SoundInput {
 public:
  struct Source;
  explicit SoundInput(const std::filesystem::path& path);
  ~SoundInput();
  SoundInput(SoundInput&&) noexcept;

  std::int64_t rate_hz() const;  // 0: it has none
  /// Of a channel, at the wanted rate.
  std::int64_t num_samples(const SoundForm& form);
  /// float32 [channels, at most `count`], from `first` on, both counted at the wanted rate.
  at::Tensor read(std::int64_t first, std::int64_t count, const SoundForm& form);

 private:
  std::unique_ptr<Source> source_;
};

bool has_latent_suffix(const std::filesystem::path& path);
/// Suffixes of sounds that this build reads, and of videos, whose sound it reads.
bool has_sound_suffix(const std::filesystem::path& path);

/// Of float32 [channels, T], LUFS (minus infinity for silence). Throws ConfigError in a build without media.
double loudness_of(const at::Tensor& sound_CT, std::int64_t rate_hz, const std::string& where);

}  // namespace thaw::audio
