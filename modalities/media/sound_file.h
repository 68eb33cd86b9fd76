#pragma once
// Sound files: the part asked for at the rate wanted; and sounds written.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace thaw {

/// Interleaved samples, in [-1, 1] as a rule; floating-point files may exceed it.
struct Sound {
  int rate = 48000, channels = 1;
  std::vector<float> samples{};
  std::int64_t num_samples() const { return static_cast<std::int64_t>(samples.size()) / channels; }  // a channel
};

/// Of the filter between rates, libswresample's, windowed by Kaiser. Where it keeps all within 0.25 dB, lets through a
/// half (-6 dB), and keeps out what it should, as shares of half the lower rate (measured by tests/media):
///
/// fast  16 taps, beta 6: up to 0.70, 0.90, from 1.15 on below -64 dB
/// good  64 taps, beta 10: up to 0.90, 0.96, from 1.06 on below -95 dB
/// best  256 taps, beta 12: up to 0.96, 0.99, from 1.02 on below -115 dB
enum class ResampleQuality { kFast, kGood, kBest };
/// Of "fast", "good", "best".
ResampleQuality resample_quality(const std::string& name);

struct SoundInfo {
  int rate = 0, channels = 0;
  std::int64_t num_samples = 0;  // a channel, as the header has it; 0 where it says nothing
  std::string codec;             // "FLAC", "aac"
};

/// What becomes of a sound. 0: as the file has it.
struct SoundShape {
  int rate = 0;
  /// 1: the mean of all channels; one channel is copied to as many as wanted; 3 to 8 become 2 by ITU-R BS.775; other
  /// pairs are refused.
  int channels = 0;
  ResampleQuality quality = ResampleQuality::kGood;
};

/// A file open for reading: by libsndfile what it knows (WAV, FLAC, OGG, AIFF, CAF, MP3 ...), by libav the rest,
/// also the sound of a video. Bounds for what a hostile file can take: 64 channels, 1 kHz to 384 kHz, the budgets of
/// VideoReader for what libav reads; memory goes with the part that is read, never with what a header claims. Throws
/// DataError "path: cannot ..." for what is no sound, has no samples, is truncated (found when the part that is
/// missing is read; of WAV and AIFF at once; OGG and MP3 have no length to miss) and for samples that are not finite.
/// Not thread-safe; any number of readers side by side are.
class SoundReader {
 public:
  explicit SoundReader(const std::filesystem::path& path);
  ~SoundReader();
  SoundReader(SoundReader&&) noexcept;
  SoundReader& operator=(SoundReader&&) noexcept;

  const SoundInfo& info() const;
  /// Of a channel, at `rate` (0: the file's). Where the header says nothing the file is decoded once, in blocks.
  std::int64_t num_samples(int rate = 0);
  /// Samples first ... first + count - 1 at the wanted rate, fewer where the sound ends before. The same numbers as in
  /// the whole sound resampled, to rounding: reading begins early enough for the filter, at a moment that both rates
  /// share. Decoded are those alone, by libav a quarter of a second before them, of an OGG or MP3 of up to 30 s all
  /// before them. Containers that keep milliseconds (Matroska) are exact to those.
  Sound read(std::int64_t first, std::int64_t count, const SoundShape& shape = {});
  /// Samples a channel that were decoded so far: what reading has cost.
  std::int64_t num_decoded() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

enum class SampleKind { kInt16, kInt24, kFloat32 };

struct SoundWriting {
  SampleKind kind = SampleKind::kInt16;  // of .wav, .flac; FLAC has no floats
  double quality = 0.6;                  // of .ogg (Vorbis), 0 to 1
};

/// By the suffix: .wav, .flac, .ogg. The file appears when it is whole. Nothing is clipped: DataError where samples
/// exceed [-1, 1] and the form cannot hold them, or are not finite. ConfigError for other suffixes.
void write_sound(const std::filesystem::path& path, const Sound& sound, const SoundWriting& how = {});

/// A file as write_sound makes it, part by part: memory does not grow with its length. It appears at `finish`.
class SoundAppender {
 public:
  SoundAppender(const std::filesystem::path& path, int rate, int channels, const SoundWriting& how = {});
  ~SoundAppender();
  SoundAppender(SoundAppender&&) noexcept;
  void add(std::span<const float> interleaved);
  /// Throws DataError where nothing was added.
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace thaw
