#include "modalities/audio/sound_picture.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string>

#include <ATen/ATen.h>

#include "core/base/text.h"
#include "modalities/audio/spectra.h"

namespace thaw::audio {

namespace {

constexpr double kShownDecibels = 80.0, kStepDecibels = 0.5;  // colours few enough for one byte a pixel
constexpr std::int64_t kGlyphWidth = 3, kGlyphHeight = 5, kPixel = 2;
constexpr std::int64_t kCharacter = (kGlyphWidth + 1) * kPixel, kLine = kGlyphHeight * kPixel;

struct Layout {
  std::int64_t width, bands, wave, gap;  // pixels of the plots
};
constexpr Layout kLarge{208, 96, 36, 4}, kSmall{100, 56, 20, 2};

// Rows of three pixels, the top one in the highest bits.
int glyph(char c) {
  constexpr std::array<int, 10> kDigits{0b111'101'101'101'111, 0b010'110'010'010'111, 0b111'001'111'100'111,
                                        0b111'001'111'001'111, 0b101'101'111'001'001, 0b111'100'111'001'111,
                                        0b111'100'111'101'111, 0b111'001'001'001'001, 0b111'101'111'101'111,
                                        0b111'101'111'001'111};
  if (c >= '0' && c <= '9') return kDigits[static_cast<std::size_t>(c - '0')];
  return c == '.' ? 0b000'000'000'000'010 : c == 'k' ? 0b100'101'110'101'101 : c == 's' ? 0b000'111'110'011'111 : 0;
}

void write_text(const at::Tensor& picture_3HW, const std::string& text, std::int64_t top, std::int64_t left) {
  for (const char c : text) {
    for (int bit = 0; bit < kGlyphWidth * kGlyphHeight; ++bit) {
      if ((glyph(c) >> (kGlyphWidth * kGlyphHeight - 1 - bit) & 1) == 0) continue;
      const std::int64_t y = top + bit / kGlyphWidth * kPixel, x = left + bit % kGlyphWidth * kPixel;
      if (y < 0 || x < 0 || y + kPixel > picture_3HW.size(1) || x + kPixel > picture_3HW.size(2)) continue;
      picture_3HW.narrow(1, y, kPixel).narrow(2, x, kPixel).fill_(90);
    }
    left += kCharacter;
  }
}

// Cube helix: brightness grows in proportion, hue turns once and a half.
at::Tensor coloured(const at::Tensor& level_HW) {
  constexpr double kStart = 0.5, kTurns = -1.5;
  const at::Tensor angle = (level_HW * kTurns + kStart / 3.0) * (2.0 * std::numbers::pi);
  const at::Tensor reach = level_HW * (1.0 - level_HW) / 2.0, c = angle.cos() * reach, s = angle.sin() * reach;
  const at::Tensor rgb =
      at::stack({level_HW - 0.14861 * c + 1.78277 * s, level_HW - 0.29227 * c - 0.90649 * s, level_HW + 1.97294 * c});
  return rgb.clamp(0.0, 1.0).mul(255.0).round().to(at::kByte);
}

// [3, bands, width], low frequencies below.
at::Tensor spectrogram(const at::Tensor& sound_T, std::int64_t rate_hz, const Layout& layout) {
  const std::int64_t window = std::max<std::int64_t>(16, rate_hz / 40);
  const std::int64_t transform = 8 * window;  // so that the lowest bands hold a frequency each
  const std::int64_t hop = std::max<std::int64_t>(1, sound_T.size(0) / layout.width);
  const at::Tensor power = power_spectra(sound_T.unsqueeze(0), {window, hop, transform})[0];
  const at::Tensor bands = at::matmul(mel_bands(layout.bands, transform, rate_hz), power);
  const at::Tensor decibels = 10.0 * (bands / bands.max().clamp_min(1e-12)).clamp_min(1e-12).log10();
  const at::Tensor steps = (decibels / kStepDecibels).round() * (kStepDecibels / kShownDecibels);
  const at::Tensor level = (1.0 + steps).clamp(0.0, 1.0).to(at::kDouble);
  return at::upsample_nearest2d(coloured(level.flip(0)).unsqueeze(0).to(at::kFloat), {layout.bands, layout.width})[0]
      .to(at::kByte);
}

// [3, wave, width]: ink where the curve passes between the extremes of its column.
at::Tensor waveform(const at::Tensor& sound_T, const Layout& layout) {
  const std::int64_t columns = std::min(layout.width, sound_T.size(0));
  const at::Tensor parts = sound_T.narrow(0, 0, sound_T.size(0) / columns * columns).reshape({columns, -1});
  const at::Tensor high = std::get<0>(parts.max(1)), low = std::get<0>(parts.min(1));
  const at::Tensor rows = at::linspace(1.0, -1.0, layout.wave).unsqueeze(1);
  const double half = 1.0 / static_cast<double>(layout.wave - 1);
  const at::Tensor is_ink = (rows >= (low - half).unsqueeze(0)).logical_and(rows <= (high + half).unsqueeze(0));
  const at::Tensor picture = at::full({3, layout.wave, layout.width}, 255, at::kByte);
  picture.narrow(2, 0, columns).masked_fill_(is_ink.unsqueeze(0), 40);
  return picture;
}

at::Tensor plots(const at::Tensor& sound_CT, std::int64_t rate_hz, const Layout& layout) {
  const at::Tensor sound_T = at::nan_to_num(sound_CT.to(at::kFloat).mean(0), 0.0, 0.0, 0.0);
  // As it is played: what exceeds full scale is scaled down to it.
  const at::Tensor played_T = sound_T / std::max(1.0, sound_T.abs().max().item<double>());
  return at::cat({spectrogram(sound_T, rate_hz, layout), at::full({3, layout.gap, layout.width}, 255, at::kByte),
                  waveform(played_T, layout)},
                 1);
}

// 1, 2 or 5 times a power of ten, about a fourth of `length`.
double round_step(double length) {
  const double raw = length / 4.0, power = std::pow(10.0, std::floor(std::log10(raw))), lead = raw / power;
  return power * (lead < 1.5 ? 1.0 : lead < 3.5 ? 2.0 : lead < 7.5 ? 5.0 : 10.0);
}

}  // namespace

at::Tensor small_picture_of_sound(const at::Tensor& sound_CT, std::int64_t rate_hz) {
  return plots(sound_CT, rate_hz, kSmall);
}

at::Tensor picture_of_sound(const at::Tensor& sound_CT, std::int64_t rate_hz) {
  constexpr std::int64_t kLeft = 3 * kCharacter + 4, kBelow = kLine + 6, kTick = 3, kRight = kCharacter;
  const at::Tensor inner = plots(sound_CT, rate_hz, kLarge);
  const std::int64_t height = inner.size(1);
  const at::Tensor picture = at::full({3, height + kBelow, kLeft + kLarge.width + kRight}, 255, at::kByte);
  picture.narrow(1, 0, height).narrow(2, kLeft, kLarge.width).copy_(inner);

  const auto mel = [](double hz) { return std::log10(1.0 + hz / 700.0); };
  const double top_hz = 0.5 * static_cast<double>(rate_hz);
  for (const double khz : {0.5, 1.0, 2.0, 4.0, 8.0, 16.0}) {
    const auto row = static_cast<std::int64_t>((1.0 - mel(1000.0 * khz) / mel(top_hz)) * (kLarge.bands - 1));
    if (row < 0) continue;
    const std::string text = khz < 1.0 ? ".5k" : concat(static_cast<int>(khz), "k");
    picture.narrow(1, row, 1).narrow(2, kLeft - kTick, kTick).fill_(90);
    write_text(picture, text, std::max<std::int64_t>(0, row - kLine / 2),
               kLeft - kTick - 1 - kCharacter * static_cast<std::int64_t>(text.size()));
  }
  const double duration_s = static_cast<double>(sound_CT.size(1)) / static_cast<double>(rate_hz);
  const double step = round_step(duration_s);
  for (double time = 0.0; time < duration_s * (1.0 + 1e-9); time += step) {
    const auto column = kLeft + static_cast<std::int64_t>(time / duration_s * static_cast<double>(kLarge.width - 1));
    const std::string text = format_short(time, 3) + "s";
    picture.narrow(1, height, kTick).narrow(2, column, 1).fill_(90);
    const auto wide = kCharacter * static_cast<std::int64_t>(text.size());
    write_text(picture, text, height + kTick + 2, std::min(column - wide / 2, picture.size(2) - wide));
  }
  return picture;
}

}  // namespace thaw::audio
