#pragma once
// What a SoundInput reads from: a sound file, or latents that were written before.

#include <filesystem>
#include <memory>

#include "modalities/audio/sound_input.h"

namespace thaw::audio {

struct SoundInput::Source {
  virtual ~Source() = default;
  virtual std::int64_t rate_hz() const = 0;
  virtual std::int64_t num_samples(const SoundForm& form) = 0;
  virtual at::Tensor read(std::int64_t first, std::int64_t count, const SoundForm& form) = 0;
};

/// A .npy of float16, float32 or float64, or a .safetensors with one tensor of F16, BF16, F32 or F64, of shape
/// [channels, T]. Throws DataError "path: ..." for others, and on reading for numbers that are not finite.
std::unique_ptr<SoundInput::Source> open_latents(const std::filesystem::path& path);

}  // namespace thaw::audio
