#include "modalities/audio/sound_files.h"

#include <algorithm>
#include <cstdio>
#include <span>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/eight_bits.h"
#include "core/io/wav.h"
#include "modalities/audio/sound_picture.h"
#ifdef THAW_HAS_MEDIA
#include "modalities/media/sound_file.h"
#endif

namespace thaw::audio {

namespace {

constexpr std::uint64_t kShownBytes = 150'000;  // of the sounds of one group on a page
constexpr std::int64_t kMostShown = 8;

void write_one(const at::Tensor& sound_CT, std::int64_t rate_hz, const std::string& format,
               const std::filesystem::path& path) {
  const at::Tensor interleaved = sound_CT.t().contiguous();
  const std::span<const float> samples(interleaved.data_ptr<float>(), static_cast<std::size_t>(interleaved.numel()));
#ifdef THAW_HAS_MEDIA
  if (format != "wav") {
    const SampleKind kind = format == "wav24"   ? SampleKind::kInt24
                            : format == "wav32" ? SampleKind::kFloat32
                                                : SampleKind::kInt16;
    const Sound sound{static_cast<int>(rate_hz), static_cast<int>(sound_CT.size(0)), {samples.begin(), samples.end()}};
    write_sound(path, sound, {.kind = kind});
    return;
  }
#endif
  write_file(path, encode_wav(samples, {sound_CT.size(0), rate_hz}));
}

// Writes sounds, each brought into range as a whole where it exceeds it, and tells of those in one line at the end.
class SoundWriter {
 public:
  SoundWriter(std::int64_t rate_hz, std::string format) : rate_hz_(rate_hz), format_(std::move(format)) {}
  SoundWriter(const SoundWriter&) = delete;
  SoundWriter& operator=(const SoundWriter&) = delete;
  ~SoundWriter() {
    if (too_loud_ > 0)
      std::fprintf(stderr,
                   "%s: %lld of %lld sounds exceed full scale, by a peak of up to %.3g; each scaled down to 1\n",
                   folder_.c_str(), static_cast<long long>(too_loud_), static_cast<long long>(written_), highest_);
  }
  void write(const at::Tensor& sound_CT, const std::filesystem::path& path) {
    at::Tensor sound = at::nan_to_num(sound_CT.to(at::kFloat), 0.0);
    const double peak = sound.numel() > 0 ? sound.abs().max().item<double>() : 0.0;
    if (peak > 1.0) {
      sound = (sound / peak).clamp(-1.0, 1.0);
      highest_ = std::max(highest_, peak);
      ++too_loud_;
    }
    ++written_;
    folder_ = path.parent_path().string();
    write_one(sound, rate_hz_, format_, path);
  }

 private:
  std::int64_t rate_hz_, written_ = 0, too_loud_ = 0;
  std::string format_;
  double highest_ = 1.0;
  std::string folder_;
};

}  // namespace

void expect_sound(const char* codec, const std::vector<std::int64_t>& raw_shape) {
  if (raw_shape.size() != 2 || raw_shape[0] < 1 || raw_shape[1] < 1)
    throw DataError(
        concat("codec \"", codec, "\": expected sounds [channels, samples], got ", at::IntArrayRef(raw_shape), "."));
}

void expect_multiple(const char* codec, std::int64_t samples, std::int64_t hop) {
  if (samples % hop != 0)
    throw DataError(concat("codec \"", codec, "\": sounds of ", samples, " samples are no whole number of frames of ",
                           hop, "; ", samples / hop * hop, " and ", (samples / hop + 1) * hop, " are."));
}

Option format_option() {
  return {.name = "format",
          .fallback = std::string("wav"),
#ifdef THAW_HAS_MEDIA
          .help = "of what is written; wav, flac: 16 bits, wav24: 24 bits, wav32: floating point",
          .choices = {"wav", "wav24", "wav32", "flac", "ogg"},
#else
          .help = "of what is written, 16 bits; this program was built without libsndfile",
          .choices = {"wav"},
#endif
          .is_hashed = false};
}

void write_sounds(const at::Tensor& raw_NCT, std::int64_t rate_hz, const std::string& format,
                  const std::filesystem::path& folder, const std::string& stem, std::int64_t first) {
  SoundWriter writer(rate_hz, format);
  const std::string suffix = format.starts_with("wav") ? "wav" : format;
  for (std::int64_t i = 0; i < raw_NCT.size(0); ++i)
    writer.write(raw_NCT[i], folder / concat(stem, "_", padded(first + i), ".", suffix));
}

std::vector<std::string> write_sounds_shown(const at::Tensor& raw_NCT, std::int64_t rate_hz, std::int64_t columns,
                                            const std::filesystem::path& folder, const std::string& stem) {
  const std::uint64_t bytes = 2 * static_cast<std::uint64_t>(raw_NCT.size(1) * raw_NCT.size(2));
  const auto fitting = static_cast<std::int64_t>(kShownBytes / std::max<std::uint64_t>(1, bytes));
  const std::int64_t shown = std::min(raw_NCT.size(0), std::clamp<std::int64_t>(fitting, 1, kMostShown));
  std::vector<std::string> files;
  SoundWriter wav(rate_hz, "wav");  // which every browser plays
  for (std::int64_t i = 0; i < shown; ++i) {
    const std::string picture = concat(stem, "_", i, ".png"), sound = concat(stem, "_", i, ".wav");
    write_file(folder / picture, png_of_picture(picture_of_sound(raw_NCT[i], rate_hz)));
    wav.write(raw_NCT[i], folder / sound);
    files.insert(files.end(), {picture, sound});
  }
  if (shown == raw_NCT.size(0)) return files;
  write_file(folder / (stem + ".png"), sheet_of_sounds(raw_NCT, rate_hz, columns));
  files.push_back(stem + ".png");
  return files;
}

std::string sheet_of_sounds(const at::Tensor& raw_NCT, std::int64_t rate_hz, std::int64_t columns) {
  std::vector<at::Tensor> pictures;
  for (std::int64_t i = 0; i < raw_NCT.size(0); ++i) pictures.push_back(small_picture_of_sound(raw_NCT[i], rate_hz));
  return sheet_of_pictures(at::stack(pictures), columns);
}

}  // namespace thaw::audio
