// Pictures of sounds show tones at their height and silence as silence; files of a page hold what they say.

#include <cmath>
#include <filesystem>

#include <ATen/ATen.h>

#include "core/base/files.h"
#include "modalities/audio/sound_files.h"
#include "modalities/audio/sound_picture.h"
#include "tests/catch.h"
#include "tests/io/scratch.h"

using namespace thaw;
using namespace thaw::audio;

namespace {

constexpr std::int64_t kRate = 16000;

// A tone in the second half, [1, 16000].
at::Tensor late_tone(double hz) {
  at::Tensor x = 0.5 * at::sin(at::arange(kRate, at::kFloat) * (2 * 3.14159265358979 * hz / kRate));
  x.narrow(0, 0, kRate / 2).zero_();
  return x.unsqueeze(0);
}

at::Tensor brightness(const at::Tensor& picture_3HW) {
  return picture_3HW.to(at::kDouble).mean(0);
}

}  // namespace

CATCH_TEST_CASE("a tone is a bright line at its height in mel, from when it sounds", "[audio][pictures]") {
  for (const double hz : {500.0, 2000.0, 6000.0}) {
    CATCH_CAPTURE(hz);
    const at::Tensor picture = small_picture_of_sound(late_tone(hz), kRate);
    CATCH_REQUIRE(picture.sizes() == at::IntArrayRef{3, 78, 100});
    const at::Tensor spectrum = brightness(picture).narrow(0, 0, 56);
    const auto mel = [](double f) { return std::log10(1.0 + f / 700.0); };
    const double expected = (1.0 - mel(hz) / mel(8000.0)) * 55.0;
    CATCH_CHECK(static_cast<double>(spectrum.narrow(1, 60, 35).sum(1).argmax().item<std::int64_t>()) ==
                Catch::Approx(expected).margin(1.5));
    CATCH_CHECK(spectrum.narrow(1, 2, 44).max().item<double>() == 0.0);  // silence is black
    const at::Tensor wave = brightness(picture).narrow(0, 58, 20);
    CATCH_CHECK(wave.narrow(1, 55, 40).lt(128).sum(0).min().item<std::int64_t>() >= 9);  // half of the height
    CATCH_CHECK(wave.narrow(1, 2, 44).lt(128).sum(0).max().item<std::int64_t>() <= 2);   // a line
  }
}

CATCH_TEST_CASE("silence is black from end to end", "[audio][pictures]") {
  const at::Tensor picture = small_picture_of_sound(at::zeros({1, kRate}), kRate);
  CATCH_CHECK(brightness(picture).narrow(0, 0, 56).max().item<double>() == 0.0);
}

CATCH_TEST_CASE("the picture with axes holds the plots and marks beside them", "[audio][pictures]") {
  const at::Tensor picture = picture_of_sound(late_tone(1000), kRate);
  const std::int64_t left = picture.size(2) - 208 - 8, below = picture.size(1) - 136;
  const at::Tensor marks = picture.narrow(2, 0, left).lt(200);
  // 1, 2, 4 and 8 kHz and 500 Hz have a tick next to the plot.
  CATCH_CHECK(marks.select(2, left - 1)[0].sum().item<std::int64_t>() == 5);
  CATCH_CHECK(marks.any().item<bool>());
  // 0, 0.2 ... 1 s.
  CATCH_CHECK(picture.select(1, picture.size(1) - below)[0].lt(200).sum().item<std::int64_t>() == 6);
  for (const double rate : {8000.0, 48000.0})
    CATCH_CHECK(picture_of_sound(late_tone(1000), static_cast<std::int64_t>(rate)).sizes() == picture.sizes());
  CATCH_CHECK(picture_of_sound(at::full({2, 40}, NAN), kRate).sizes() == picture.sizes());
}

CATCH_TEST_CASE("a page gets a picture and a player a sound, as many as fit, and a sheet of all", "[audio][pictures]") {
  const testing::Scratch scratch;
  const at::Tensor sounds = late_tone(700).unsqueeze(0).repeat({9, 1, 1});  // 32 kB each: 4 within 150 kB
  const std::vector<std::string> names = write_sounds_shown(sounds, kRate, 3, scratch.folder(), "class_0");
  CATCH_REQUIRE(names.size() == 9);
  CATCH_CHECK(names[0] == "class_0_0.png");
  CATCH_CHECK(names[1] == "class_0_0.wav");
  CATCH_CHECK(names[8] == "class_0.png");
  for (const std::string& name : names) CATCH_CHECK(std::filesystem::exists(scratch / name));
  CATCH_CHECK(read_file(scratch / "class_0_3.wav").size() == 44 + 2 * kRate);
  CATCH_CHECK(write_sounds_shown(sounds.narrow(0, 0, 2), kRate, 3, scratch.folder(), "few").size() == 4);
}
