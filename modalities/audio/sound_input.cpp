#include "modalities/audio/sound_input.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <vector>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#ifdef THAW_HAS_MEDIA
#include "modalities/media/loudness.h"
#include "modalities/media/sound_file.h"
#else
#include "core/io/mapped_file.h"
#include "core/io/wav.h"
#endif

namespace thaw::audio {

namespace fs = std::filesystem;

namespace {

// Interleaved to float32 [channels, T].
at::Tensor tensor_of(std::vector<float>& samples, std::int64_t channels) {
  const auto length = static_cast<std::int64_t>(samples.size()) / channels;
  return at::from_blob(samples.data(), {length, channels}, at::kFloat).t().clone(at::MemoryFormat::Contiguous);
}

}  // namespace

#ifdef THAW_HAS_MEDIA

bool has_media() {
  return true;
}

struct SoundInput::Impl {
  SoundReader reader;
};

SoundInput::SoundInput(const fs::path& path) : impl_(new Impl{SoundReader(path)}) {}

std::int64_t SoundInput::rate_hz() const {
  return impl_->reader.info().rate;
}

std::int64_t SoundInput::num_samples(const SoundForm& form) {
  return impl_->reader.num_samples(static_cast<int>(form.rate_hz));
}

at::Tensor SoundInput::read(std::int64_t first, std::int64_t count, const SoundForm& form) {
  Sound sound = impl_->reader.read(first, count,
                                   {.rate = static_cast<int>(form.rate_hz),
                                    .channels = static_cast<int>(form.channels),
                                    .quality = resample_quality(form.quality)});
  return tensor_of(sound.samples, form.channels);
}

double loudness_of(const at::Tensor& sound_CT, std::int64_t rate_hz, const std::string& where) {
  const at::Tensor interleaved = sound_CT.t().contiguous();
  const float* begin = interleaved.data_ptr<float>();
  const Sound sound{
      static_cast<int>(rate_hz), static_cast<int>(sound_CT.size(0)), {begin, begin + interleaved.numel()}};
  return measure_loudness(sound, where).lufs;
}

#else

bool has_media() {
  return false;
}

struct SoundInput::Impl {
  std::string where;
  MappedFile file;
  WavHeader header;
};

SoundInput::SoundInput(const fs::path& path) : impl_(new Impl{path.string(), MappedFile(path), {}}) {
  impl_->header = parse_wav_header(impl_->file.bytes(), impl_->where);
}

std::int64_t SoundInput::rate_hz() const {
  return impl_->header.format.rate_hz;
}

std::int64_t SoundInput::num_samples(const SoundForm& form) {
  if (form.rate_hz != rate_hz())
    throw DataError(concat(impl_->where, ": cannot read at ", form.rate_hz, " Hz a sound of ", rate_hz(),
                           " Hz: this build changes no rates (it is without libswresample)"));
  return impl_->header.num_samples;
}

at::Tensor SoundInput::read(std::int64_t first, std::int64_t count, const SoundForm& form) {
  num_samples(form);
  std::vector<float> samples = decode_wav(impl_->file.bytes(), impl_->header, first, count, impl_->where);
  const std::int64_t channels = impl_->header.format.channels;
  const at::Tensor sound = tensor_of(samples, channels);
  if (form.channels == channels) return sound;
  if (form.channels == 1) return sound.mean(0, true);
  if (channels == 1) return sound.repeat({form.channels, 1});
  throw DataError(concat(impl_->where, ": cannot make ", form.channels, " channels of ", channels,
                         " in a build without libswresample; 1 channel can be made of any, any of 1"));
}

double loudness_of(const at::Tensor&, std::int64_t, const std::string& where) {
  throw ConfigError(concat(where, ": loudness is measured by libebur128, which this build is without"));
}

#endif

SoundInput::~SoundInput() = default;
SoundInput::SoundInput(SoundInput&&) noexcept = default;

bool has_sound_suffix(const fs::path& path) {
  static constexpr std::array<std::string_view, 27> kSuffixes{
      ".wav",  ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".aif",
      ".aiff", ".aifc", ".caf", ".au",  ".w64",  ".wv",  ".ape", ".wma", ".mka",
      ".mp4",  ".m4v",  ".mov", ".mkv", ".webm", ".avi", ".ts",  ".mpg", ".ogv"};
  std::string suffix = path.extension().string();
  std::transform(suffix.begin(), suffix.end(), suffix.begin(), [](unsigned char c) { return std::tolower(c); });
  if (!has_media()) return suffix == ".wav";
  return std::find(kSuffixes.begin(), kSuffixes.end(), suffix) != kSuffixes.end();
}

}  // namespace thaw::audio
