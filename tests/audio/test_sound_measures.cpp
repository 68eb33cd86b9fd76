// Measures of sounds on sounds whose measures are known.

#include <cmath>
#include <map>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/math/philox.h"
#include "modalities/audio/fad.h"
#include "modalities/audio/sound_measures.h"
#include "modalities/audio/spectra.h"
#include "tests/catch.h"

using namespace thaw;
using namespace thaw::audio;

namespace {

constexpr std::int64_t kRate = 16000;
constexpr double kPi = 3.14159265358979323846;

at::Tensor places(std::int64_t n) {
  return at::arange(n, at::kDouble);
}

// [1, 1, n], whole periods where `periods` is whole.
at::Tensor sine(double amplitude, double periods, double phase = 0.0, std::int64_t n = kRate) {
  return (amplitude * at::sin(places(n) * (2 * kPi * periods / static_cast<double>(n)) + phase)).view({1, 1, n});
}

double only(const at::Tensor& value_1) {
  return value_1.item<double>();
}

// The sounds of tests/peers/sound_measures.py.
at::Tensor golden_sound(const std::string& kind) {
  const at::Tensor i = places(4000), chirp = at::sin(1e-5 * i * i + 0.05 * i);
  const std::map<std::string, at::Tensor> all{
      {"chirp", 0.5 * chirp},
      {"chirp_soft", 0.3 * chirp},
      {"chord", 0.2 * at::sin(0.11 * i) + 0.3 * at::sin(0.37 * i + 1.0) + 0.1 * at::sin(2.3 * i)},
      {"rough", 0.5 * chirp + 0.05 * at::sin(17.0 * at::sin(0.013 * i) + 1.9 * i)}};
  return all.at(kind).view({1, 1, -1});
}

}  // namespace

CATCH_TEST_CASE("level, peak, offset and clipping of a sine are those of its formula", "[audio][measures]") {
  const at::Tensor x = sine(0.5, 440);
  CATCH_CHECK(only(sound_levels_db(x)) == Catch::Approx(20 * std::log10(0.5 / std::sqrt(2.0))).margin(1e-9));
  CATCH_CHECK(only(sound_peaks_db(x)) == Catch::Approx(20 * std::log10(0.5)).margin(1e-3));  // sampled near its top
  CATCH_CHECK(only(offsets(x)) == Catch::Approx(0.0).margin(1e-12));
  CATCH_CHECK(only(offsets(x - 0.25)) == Catch::Approx(0.25).margin(1e-12));
  CATCH_CHECK(only(offsets(at::cat({x, x + 0.125}, 1))) == Catch::Approx(0.125).margin(1e-12));
  CATCH_CHECK(only(clipped_shares(x)) == 0.0);
  // |sin| >= 1/2 two thirds of the time.
  CATCH_CHECK(only(clipped_shares(sine(2.0, 10, 0.1))) == Catch::Approx(2.0 / 3.0).margin(40.0 / kRate));
  const at::Tensor silence = at::zeros({1, 2, 100});
  CATCH_CHECK(only(sound_levels_db(silence)) == Catch::Approx(-120.0));
  CATCH_CHECK(only(sound_peaks_db(silence)) == Catch::Approx(-120.0));
}

CATCH_TEST_CASE("the centroid of tones is the mean of their frequencies by power", "[audio][measures]") {
  CATCH_CHECK(only(centroids_hz(sine(0.3, 440), kRate)) == Catch::Approx(440.0).margin(1e-6));
  // Powers 1 and 4: (440 + 4 * 1440) / 5. An offset does not count.
  const at::Tensor both = sine(0.1, 440) + sine(0.2, 1440) + 0.3;
  CATCH_CHECK(only(centroids_hz(both, kRate)) == Catch::Approx((440.0 + 4 * 1440.0) / 5).margin(1e-6));
  CATCH_CHECK(only(centroids_hz(at::zeros({1, 1, 64}), kRate)) == 0.0);
}

CATCH_TEST_CASE("the onset is when the sound begins, to the window of 10 ms", "[audio][measures]") {
  for (const std::int64_t begin : {0, 1600, 4000, 12000}) {
    at::Tensor x = sine(0.4, 1000);
    x.narrow(2, 0, begin).zero_();
    CATCH_CAPTURE(begin);
    CATCH_CHECK(only(onsets_s(x, kRate)) == Catch::Approx(static_cast<double>(begin) / kRate).margin(0.006));
  }
  CATCH_CHECK(only(onsets_s(at::zeros({1, 1, kRate}), kRate)) == 0.0);
}

CATCH_TEST_CASE("errors in decibels are exact for orthogonal noise, a factor and a delay", "[audio][measures]") {
  const at::Tensor s = sine(0.5, 440), noise = sine(0.05, 1230);
  CATCH_CHECK(only(signal_to_noise_db(s + noise, s)) == Catch::Approx(20.0).margin(1e-9));
  CATCH_CHECK(only(scale_invariant_db(s + noise, s)) == Catch::Approx(20.0).margin(1e-9));
  CATCH_CHECK(only(scale_invariant_db(0.1 * (s + noise), s)) == Catch::Approx(20.0).margin(1e-9));
  CATCH_CHECK(only(signal_to_noise_db(0.5 * s, s)) == Catch::Approx(20 * std::log10(2.0)).margin(1e-9));
  // A sine that is late by the angle phi: y = cos(phi) s - sin(phi) s', s' as loud as s and orthogonal to it.
  for (const double phi : {0.1, 0.7, 1.3}) {
    const at::Tensor late = sine(0.5, 440, -phi);
    CATCH_CHECK(only(scale_invariant_db(late, s)) == Catch::Approx(-20 * std::log10(std::tan(phi))).margin(1e-9));
    CATCH_CHECK(only(signal_to_noise_db(late, s)) ==
                Catch::Approx(-20 * std::log10(2 * std::sin(phi / 2))).margin(1e-9));
  }
  CATCH_CHECK(only(signal_to_noise_db(s, s)) == 120.0);
  CATCH_CHECK(only(scale_invariant_db(s, s)) == 120.0);
  CATCH_CHECK(only(scale_invariant_db(at::zeros_like(s), s)) == -120.0);  // silence is no good copy of a sound
  CATCH_CHECK(only(signal_to_noise_db(at::zeros_like(s), at::zeros_like(s))) == 120.0);
  CATCH_CHECK(only(signal_to_noise_db(s, at::zeros_like(s))) == -120.0);
}

CATCH_TEST_CASE("spectra of equal sounds do not differ, and a factor is its decibels everywhere", "[audio][measures]") {
  const at::Tensor x = golden_sound("rough");
  CATCH_CHECK(only(multi_resolution_distances(x, x)) == 0.0);
  CATCH_CHECK(only(log_spectral_distances_db(x, x)) == 0.0);
  // White noise, so that no frequency is near the floor.
  at::Tensor noisy = at::empty({1, 1, 4096}, at::kFloat);
  fill_normal({noisy.data_ptr<float>(), 4096}, {1, Purpose::kOther, 0, 0, 0});
  for (const double factor : {0.5, 3.0})
    CATCH_CHECK(only(log_spectral_distances_db(factor * noisy, noisy)) ==
                Catch::Approx(std::abs(20 * std::log10(factor))).margin(1e-3));
  // |factor - 1| of the convergence and |ln factor| of the logarithms.
  CATCH_CHECK(only(multi_resolution_distances(2.0 * noisy, noisy)) == Catch::Approx(1.0 + std::log(2.0)).margin(2e-3));
}

CATCH_TEST_CASE("distances of pairs are those of the formulas written out in numpy", "[audio][measures]") {
  const nlohmann::json golden = nlohmann::json::parse(read_file("tests/golden/sound_measures.json"));
  CATCH_REQUIRE(golden["cases"].size() == 4);
  for (const auto& one : golden["cases"]) {
    const at::Tensor made = golden_sound(one["made"]), original = golden_sound(one["original"]);
    CATCH_CAPTURE(one["made"].get<std::string>(), one["original"].get<std::string>());
    CATCH_CHECK(only(multi_resolution_distances(made, original)) ==
                Catch::Approx(one["multi_resolution"].get<double>()).margin(1e-9));
    CATCH_CHECK(only(log_spectral_distances_db(made, original)) ==
                Catch::Approx(one["log_spectral"].get<double>()).margin(1e-7));
    CATCH_CHECK(only(scale_invariant_db(made, original)) ==
                Catch::Approx(std::min(120.0, one["si_sdr"].get<double>())).margin(1e-9));
    CATCH_CHECK(only(signal_to_noise_db(made, original)) == Catch::Approx(one["snr"].get<double>()).margin(1e-9));
  }
}

CATCH_TEST_CASE("channels are averaged, and pairs of other shapes are refused with both", "[audio][measures]") {
  const at::Tensor a = golden_sound("chirp"), b = golden_sound("rough"), c = golden_sound("chord");
  const at::Tensor stereo = multi_resolution_distances(at::cat({b, c}, 1), at::cat({a, a}, 1));
  CATCH_CHECK(only(stereo) ==
              Catch::Approx(0.5 * (only(multi_resolution_distances(b, a)) + only(multi_resolution_distances(c, a)))));
  CATCH_CHECK_THROWS_AS(signal_to_noise_db(a, a.narrow(2, 0, 100)), DataError);
  CATCH_CHECK_THROWS_AS(multi_resolution_distances(a.narrow(2, 0, 1024), a.narrow(2, 0, 1024)), DataError);
}

CATCH_TEST_CASE("a tone in the middle of a bin has a Hann window's three lines", "[audio][measures]") {
  const at::Tensor power = power_spectra(sine(1.0, 1000).view({1, -1}), {512, 160});  // 31.25 Hz a bin: bin 32
  CATCH_CHECK(power.sizes() == at::IntArrayRef{1, 257, 101});
  const at::Tensor frame = power[0].select(1, 50);
  CATCH_CHECK(frame[32].item<double>() == Catch::Approx(128.0 * 128.0).epsilon(1e-9));  // (window / 4)^2
  CATCH_CHECK(frame[31].item<double>() == Catch::Approx(64.0 * 64.0).epsilon(1e-9));
  CATCH_CHECK(frame[33].item<double>() == Catch::Approx(64.0 * 64.0).epsilon(1e-9));
  CATCH_CHECK(frame[40].item<double>() == Catch::Approx(0.0).margin(1e-12));
}

CATCH_TEST_CASE("windows of a sound lie inside it, and a short one is followed by silence", "[audio][fad]") {
  const at::Tensor x = at::arange(10, at::kFloat).view({1, 1, 10});
  const at::Tensor windows = sound_windows(x, {.window = 4, .hop = 3});
  CATCH_REQUIRE(windows.sizes() == at::IntArrayRef{1, 3, 1, 4});
  CATCH_CHECK(windows[0][2][0].equal(at::arange(6, 10, at::kFloat)));
  const at::Tensor padded = sound_windows(x, {.window = 12, .hop = 3, .is_peak_normalised = true});
  CATCH_REQUIRE(padded.sizes() == at::IntArrayRef{1, 1, 1, 12});
  CATCH_CHECK(padded[0][0][0][9].item<float>() == 1.0F);
  CATCH_CHECK(padded[0][0][0].narrow(0, 10, 2).abs().max().item<float>() == 0.0F);
  const at::Tensor stereo = at::cat({x, -x}, 1);
  CATCH_CHECK(sound_windows(stereo, {.window = 4, .hop = 4}).abs().max().item<float>() == 0.0F);
  CATCH_CHECK(sound_windows(stereo, {.window = 4, .hop = 4, .is_mono = false}).sizes() == at::IntArrayRef{1, 2, 2, 4});
}
