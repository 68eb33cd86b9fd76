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

void expect_within(const Sound& sound, const std::string& where) {
  const auto beyond = [](float x) { return std::abs(x) > 1.0F; };
  const auto count = std::ranges::count_if(sound.samples, beyond);
  if (count == 0) return;
  float peak = 0.0F;
  for (const float x : sound.samples) peak = std::max(peak, std::abs(x));
  throw DataError(concat(where, ": cannot write: ", count, " samples exceed 1, the loudest by ", format_short(peak),
                         "; scale the sound, or write .wav with floating-point samples"));
}

struct Closer {
  void operator()(SNDFILE* file) const { sf_close(file); }
};

}  // namespace

void write_sound(const std::filesystem::path& path, const Sound& sound, const SoundWriting& how) {
  const std::string where = path.string();
  const int format = format_of(path, how.kind);
  if (sound.channels < 1 || sound.channels > kMostSoundChannels || sound.num_samples() == 0)
    throw DataError(concat(where, ": cannot write a sound of ", sound.channels, " channels and ", sound.samples.size(),
                           " samples"));
  if (!std::ranges::all_of(sound.samples, [](float x) { return std::isfinite(x); }))
    throw DataError(concat(where, ": cannot write: a sample is not finite"));
  if ((format & SF_FORMAT_SUBMASK) != SF_FORMAT_FLOAT) expect_within(sound, where);

  AtomicFile file(path);
  SF_INFO info{};
  info.samplerate = sound.rate;
  info.channels = sound.channels;
  info.format = format;
  const std::unique_ptr<SNDFILE, Closer> out(sf_open(file.temporary().c_str(), SFM_WRITE, &info));
  if (!out) throw DataError(concat(where, ": cannot write: ", sf_strerror(nullptr)));
  double quality = how.quality;
  if ((format & SF_FORMAT_TYPEMASK) == SF_FORMAT_OGG)
    sf_command(out.get(), SFC_SET_VBR_ENCODING_QUALITY, &quality, sizeof quality);
  for (std::int64_t at = 0; at < sound.num_samples(); at += kBlock) {
    const std::int64_t count = std::min(kBlock, sound.num_samples() - at);
    if (sf_writef_float(out.get(), sound.samples.data() + at * sound.channels, count) != count)
      throw ResourceError(concat(where, ": cannot write: ", sf_strerror(out.get())));
  }
  sf_write_sync(out.get());
  file.commit();
}

}  // namespace thaw
