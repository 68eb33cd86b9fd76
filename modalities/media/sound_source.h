#pragma once
// A sound file as a sequence of samples, whoever decodes it.

#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "modalities/media/sound_file.h"

namespace thaw {

class SoundSource {
 public:
  virtual ~SoundSource() = default;
  virtual const SoundInfo& info() const = 0;
  /// False where info().num_samples is a duration in a header's own coarse unit.
  virtual bool has_exact_length() const = 0;
  /// The next read begins at this sample. Throws DataError where the file cannot be entered there.
  virtual void seek(std::int64_t sample) = 0;
  /// Fills whole moments of all channels; returns how many, 0 at the end.
  virtual std::int64_t read(std::span<float> interleaved) = 0;
  /// Samples a channel that were decoded on the way to where seek() was to come out.
  std::int64_t num_passed() const { return num_passed_; }

 protected:
  std::int64_t num_passed_ = 0;
};

/// Null where libsndfile does not know the file, with its reason; empty when it is another format altogether.
std::unique_ptr<SoundSource> open_with_sndfile(const std::filesystem::path& path, std::string& reason);
std::unique_ptr<SoundSource> open_with_libav(const std::filesystem::path& path);

}  // namespace thaw
