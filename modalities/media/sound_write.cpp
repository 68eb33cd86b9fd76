#include <sndfile.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <memory>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/io/wav.h"
#include "modalities/media/sound_file.h"

namespace thaw {

namespace {

constexpr std::int64_t kBlock = 4096;  // libsndfile's Vorbis takes its stack in proportion to what it is given

int subtype(SampleKind kind) {
  return kind == SampleKind::kInt16   ? SF_FORMAT_PCM_16
         : kind == SampleKind::kInt24 ? SF_FORMAT_PCM_24
                                      : SF_FORMAT_FLOAT;
}

int format_of(const std::filesystem::path& path, SampleKind kind) {
  std::string suffix = path.extension().string();
  std::transform(suffix.begin(), suffix.end(), suffix.begin(), [](unsigned char c) { return std::tolower(c); });
  if (suffix == ".wav") return SF_FORMAT_WAV | subtype(kind);
  if (suffix == ".ogg") return SF_FORMAT_OGG | SF_FORMAT_VORBIS;
  if (suffix != ".flac")
    throw ConfigError(concat(path.string(), ": cannot write \"", suffix, "\" as sound; known are .wav, .flac, .ogg"));
  if (kind == SampleKind::kFloat32)
    throw ConfigError(concat(path.string(), ": FLAC holds no floating-point samples; known are 16 and 24 bits"));
  return SF_FORMAT_FLAC | subtype(kind);
}

void expect_within(std::span<const float> samples, const std::string& where) {
  float peak = 0.0F;
  for (const float x : samples) peak = std::max(peak, std::abs(x));
  if (peak <= 1.0F) return;
  const auto count = std::ranges::count_if(samples, [](float x) { return std::abs(x) > 1.0F; });
  throw DataError(concat(where, ": cannot write: ", count, " samples exceed 1, the loudest by ", format_short(peak),
                         "; scale the sound, or write .wav with floating-point samples"));
}

struct Closer {
  void operator()(SNDFILE* file) const { sf_close(file); }
};

}  // namespace

struct SoundAppender::Impl {
  std::string where;
  int channels, format;
  AtomicFile file;
  std::unique_ptr<SNDFILE, Closer> out{};
  bool is_empty = true;

  Impl(const std::filesystem::path& path, int rate, int num_channels, const SoundWriting& how)
      : where(path.string()), channels(num_channels), format(format_of(path, how.kind)), file(path) {
    if (channels < 1 || channels > kMostSoundChannels)
      throw DataError(concat(where, ": cannot write a sound of ", channels, " channels"));
    SF_INFO info{};
    info.samplerate = rate;
    info.channels = channels;
    info.format = format;
    out.reset(sf_open(file.temporary().c_str(), SFM_WRITE, &info));
    if (!out) throw DataError(concat(where, ": cannot write: ", sf_strerror(nullptr)));
    double quality = how.quality;
    if ((format & SF_FORMAT_TYPEMASK) == SF_FORMAT_OGG)
      sf_command(out.get(), SFC_SET_VBR_ENCODING_QUALITY, &quality, sizeof quality);
  }

  void add(std::span<const float> interleaved) {
    if (!std::ranges::all_of(interleaved, [](float x) { return std::isfinite(x); }))
      throw DataError(concat(where, ": cannot write: a sample is not finite"));
    if ((format & SF_FORMAT_SUBMASK) != SF_FORMAT_FLOAT) expect_within(interleaved, where);
    const std::int64_t length = static_cast<std::int64_t>(interleaved.size()) / channels;
    for (std::int64_t at = 0; at < length; at += kBlock) {
      const std::int64_t count = std::min(kBlock, length - at);
      if (sf_writef_float(out.get(), interleaved.data() + at * channels, count) != count)
        throw ResourceError(concat(where, ": cannot write: ", sf_strerror(out.get())));
    }
    is_empty = is_empty && length == 0;
  }

  void finish() {
    if (is_empty) throw DataError(concat(where, ": cannot write a sound without samples"));
    out.reset();  // whatever it still holds
    file.commit();
  }
};

SoundAppender::SoundAppender(const std::filesystem::path& path, int rate, int channels, const SoundWriting& how)
    : impl_(std::make_unique<Impl>(path, rate, channels, how)) {}
SoundAppender::~SoundAppender() = default;
SoundAppender::SoundAppender(SoundAppender&&) noexcept = default;

void SoundAppender::add(std::span<const float> interleaved) {
  impl_->add(interleaved);
}

void SoundAppender::finish() {
  impl_->finish();
}

void write_sound(const std::filesystem::path& path, const Sound& sound, const SoundWriting& how) {
  SoundAppender file(path, sound.rate, sound.channels, how);
  file.add(sound.samples);
  file.finish();
}

}  // namespace thaw
