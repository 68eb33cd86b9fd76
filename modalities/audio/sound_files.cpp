#include "modalities/audio/sound_files.h"

#include <algorithm>
#include <cstdio>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/eight_bits.h"
#include "core/io/wav.h"

namespace thaw::audio {

namespace {

constexpr std::int64_t kWidth = 128, kWaveHeight = 32, kSpectrumHeight = 64;
constexpr std::int64_t kWindow = 256;
constexpr double kShownDecibels = 80.0;
constexpr double kPause_s = 0.25;

// float32 [channels, T] as WAV, brought into range as a whole where it exceeds it.
std::string wav_of(const at::Tensor& sound_CT, std::int64_t rate_hz, const std::filesystem::path& path) {
  at::Tensor sound = at::nan_to_num(sound_CT.to(at::kFloat), 0.0);
  const double peak = sound.numel() > 0 ? sound.abs().max().item<double>() : 0.0;
  if (peak > 1.0) {
    std::fprintf(stderr, "%s: its peak is %.3g; scaled down to 1\n", path.string().c_str(), peak);
    sound = (sound / peak).clamp(-1.0, 1.0);
  }
  const at::Tensor interleaved = sound.t().contiguous();
  return encode_wav({interleaved.data_ptr<float>(), static_cast<std::size_t>(interleaved.numel())},
                    {sound.size(0), rate_hz});
}

// uint8 [1, kWaveHeight, kWidth]: black where the curve passes between the extremes of its column.
at::Tensor wave_picture(const at::Tensor& sound_T) {
  const std::int64_t columns = std::min(kWidth, sound_T.size(0));
  const at::Tensor parts = sound_T.narrow(0, 0, sound_T.size(0) / columns * columns).reshape({columns, -1});
  const at::Tensor high = std::get<0>(parts.max(1)), low = std::get<0>(parts.min(1));
  const at::Tensor rows = at::linspace(1.0, -1.0, kWaveHeight).unsqueeze(1);
  const double half = 1.0 / static_cast<double>(kWaveHeight - 1);
  const at::Tensor is_ink = (rows >= (low - half).unsqueeze(0)).logical_and(rows <= (high + half).unsqueeze(0));
  const at::Tensor picture = at::full({kWaveHeight, kWidth}, 255, at::kByte);
  picture.narrow(1, 0, columns).masked_fill_(is_ink, 0);
  return picture.unsqueeze(0);
}

// uint8 [1, kSpectrumHeight, kWidth]: magnitudes in decibels below the loudest, dark is loud, low is below.
at::Tensor spectrum_picture(const at::Tensor& sound_T) {
  const std::int64_t hop = std::max<std::int64_t>(1, sound_T.size(0) / kWidth);
  const at::Tensor padded = at::constant_pad_nd(sound_T, {0, kWindow});
  const at::Tensor frames = padded.unfold(0, kWindow, hop) * at::hann_window(kWindow, at::kFloat);
  const at::Tensor magnitude = at::fft_rfft(frames, c10::nullopt, 1).abs().narrow(1, 0, kSpectrumHeight * 2);
  const at::Tensor pairs = magnitude.reshape({magnitude.size(0), kSpectrumHeight, 2}).amax(2);
  const at::Tensor decibels = 20.0 * at::log10(pairs.clamp_min(1e-7) / pairs.max().clamp_min(1e-6));
  const at::Tensor gray = (-decibels / kShownDecibels).clamp(0.0, 1.0).mul(255.0).to(at::kByte).t().flip(0);
  const at::Tensor picture = at::full({kSpectrumHeight, kWidth}, 255, at::kByte);
  const std::int64_t shown = std::min(kWidth, gray.size(1));
  picture.narrow(1, 0, shown).copy_(gray.narrow(1, 0, shown));
  return picture.unsqueeze(0);
}

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

void write_sounds(const at::Tensor& raw_NCT, std::int64_t rate_hz, const std::filesystem::path& folder,
                  const std::string& stem, std::int64_t first) {
  for (std::int64_t i = 0; i < raw_NCT.size(0); ++i) {
    const std::filesystem::path path = folder / concat(stem, "_", padded(first + i), ".wav");
    write_file(path, wav_of(raw_NCT[i], rate_hz, path));
  }
}

std::vector<std::string> write_sounds_shown(const at::Tensor& raw_NCT, std::int64_t rate_hz, std::int64_t columns,
                                            const std::filesystem::path& folder, const std::string& stem) {
  const auto pause = static_cast<std::int64_t>(kPause_s * static_cast<double>(rate_hz));
  std::vector<at::Tensor> parts;
  for (std::int64_t i = 0; i < raw_NCT.size(0); ++i) {
    parts.push_back(raw_NCT[i] / std::max(1.0, raw_NCT[i].abs().max().item<double>()));
    parts.push_back(at::zeros({raw_NCT.size(1), pause}, at::kFloat));
  }
  const std::string sound = stem + ".wav", sheet = stem + ".png";
  write_file(folder / sound, wav_of(at::cat(parts, 1), rate_hz, folder / sound));
  write_file(folder / sheet, sheet_of_sounds(raw_NCT, columns));
  return {sound, sheet};
}

std::string sheet_of_sounds(const at::Tensor& raw_NCT, std::int64_t columns) {
  std::vector<at::Tensor> pictures;
  for (std::int64_t i = 0; i < raw_NCT.size(0); ++i) {
    const at::Tensor sound_T = at::nan_to_num(raw_NCT[i].to(at::kFloat).mean(0), 0.0);
    pictures.push_back(at::cat({spectrum_picture(sound_T), wave_picture(sound_T)}, 1));
  }
  return sheet_of_pictures(at::stack(pictures), columns);
}

}  // namespace thaw::audio
