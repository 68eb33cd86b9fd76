#include "modalities/audio/sound_input.h"

#include "modalities/audio/sound_input_source.h"

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

namespace {

class FileSource : public SoundInput::Source {
 public:
  explicit FileSource(const fs::path& path) : reader_(path) {}
  std::int64_t rate_hz() const override { return reader_.info().rate; }
  std::int64_t num_samples(const SoundForm& form) override {
    return reader_.num_samples(static_cast<int>(form.rate_hz));
  }
  at::Tensor read(std::int64_t first, std::int64_t count, const SoundForm& form) override {
    Sound sound = reader_.read(first, count,
                               {.rate = static_cast<int>(form.rate_hz),
                                .channels = static_cast<int>(form.channels),
                                .quality = resample_quality(form.quality)});
    return tensor_of(sound.samples, sound.channels);
  }

 private:
  SoundReader reader_;
};

}  // namespace

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

namespace {

class FileSource : public SoundInput::Source {
 public:
  explicit FileSource(const fs::path& path)
      : where_(path.string()), file_(path), header_(parse_wav_header(file_.bytes(), where_)) {}
  std::int64_t rate_hz() const override { return header_.format.rate_hz; }
  std::int64_t num_samples(const SoundForm& form) override {
    if (form.rate_hz != rate_hz())
      throw DataError(concat(where_, ": cannot read at ", form.rate_hz, " Hz a sound of ", rate_hz(),
                             " Hz: this build changes no rates (it is without libswresample)"));
    return header_.num_samples;
  }
  at::Tensor read(std::int64_t first, std::int64_t count, const SoundForm& form) override {
    num_samples(form);
    std::vector<float> samples = decode_wav(file_.bytes(), header_, first, count, where_);
    const std::int64_t channels = header_.format.channels;
    const at::Tensor sound = tensor_of(samples, channels);
    if (form.channels == channels) return sound;
    if (form.channels == 1) return sound.mean(0, true);
    if (channels == 1) return sound.repeat({form.channels, 1});
    throw DataError(concat(where_, ": cannot make ", form.channels, " channels of ", channels,
                           " in a build without libswresample; 1 channel can be made of any, any of 1"));
  }

 private:
  std::string where_;
  MappedFile file_;
  WavHeader header_;
};

}  // namespace

double loudness_of(const at::Tensor&, std::int64_t, const std::string& where) {
  throw ConfigError(concat(where, ": loudness is measured by libebur128, which this build is without"));
}

#endif

SoundInput::SoundInput(const fs::path& path)
    : source_(has_latent_suffix(path) ? open_latents(path) : std::make_unique<FileSource>(path)) {}
SoundInput::~SoundInput() = default;
SoundInput::SoundInput(SoundInput&&) noexcept = default;

std::int64_t SoundInput::rate_hz() const {
  return source_->rate_hz();
}

std::int64_t SoundInput::num_samples(const SoundForm& form) {
  return source_->num_samples(form);
}

at::Tensor SoundInput::read(std::int64_t first, std::int64_t count, const SoundForm& form) {
  return source_->read(first, count, form);
}

bool has_latent_suffix(const fs::path& path) {
  return path.extension() == ".npy" || path.extension() == ".safetensors";
}

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
