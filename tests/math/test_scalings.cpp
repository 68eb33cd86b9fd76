#include "tests/catch.h"

#include <cmath>
#include <numbers>

#include "core/math/scalings.h"
#include "tests/plans.h"

using namespace thaw;
using namespace thaw::testing;

CATCH_TEST_CASE("every prediction recovers x0 from its own perfect target", "[math][scalings]") {
  const double x0 = 0.7, eps = -1.3;
  CATCH_REQUIRE(all_predictions().size() == prediction_names().size());
  for (const Path* path : standard_paths())
    for (const Prediction prediction : all_predictions())
      for (double lambda : {-4.0, -1.0, 0.0, 0.75, 3.0}) {
        CATCH_CAPTURE(path->name(), prediction_name(prediction), lambda);
        const Level level = path->at(lambda);
        const double x = level.alpha * x0 + level.sigma * eps;
        const Scalings k = scalings(prediction, level, *path, 0.5);
        const TargetWeights w = target_weights(prediction, level, *path, 0.5);
        // Noise and score subtract sigma eps from x and divide by alpha: e^4 = 55 times the rounding of a double.
        CATCH_CHECK(k.skip * x + k.out * (w.on_x0 * x0 + w.on_eps * eps) == Catch::Approx(x0).margin(1e-12));
      }
}

CATCH_TEST_CASE("predictions have the targets of their papers", "[math][scalings]") {
  const Level vp = variance_preserving().at(0.4), flow = linear_path().at(0.4), ve = variance_exploding().at(-1.0);
  const auto target = [](Prediction p, const Level& l, const Path& path) {
    const TargetWeights w = target_weights(p, l, path, 0.5);
    return std::pair(w.on_x0, w.on_eps);
  };
  CATCH_CHECK(target(Prediction::kV, vp, variance_preserving()) == std::pair(-vp.sigma, vp.alpha));
  CATCH_CHECK(target(Prediction::kVelocity, vp, variance_preserving()) == std::pair(-vp.sigma, vp.alpha));
  CATCH_CHECK(target(Prediction::kVelocity, flow, linear_path()) == std::pair(-1.0, 1.0));
  CATCH_CHECK(target(Prediction::kScore, vp, variance_preserving()) == std::pair(0.0, -1.0 / vp.sigma));
  CATCH_CHECK(target(Prediction::kVelocity, ve, variance_exploding()) == std::pair(0.0, 1.0));
}

CATCH_TEST_CASE("edm scalings are those of Karras et al. 2022, table 1", "[math][scalings]") {
  const double s = 0.5;
  for (double rho : {0.002, 0.3, 1.0, 80.0}) {
    const Scalings k = scalings(Prediction::kEdm, {1.0, rho}, variance_exploding(), s);
    CATCH_CHECK(k.skip == Catch::Approx(s * s / (rho * rho + s * s)).epsilon(1e-14));
    CATCH_CHECK(k.out == Catch::Approx(rho * s / std::sqrt(rho * rho + s * s)).epsilon(1e-14));
    CATCH_CHECK(k.in == Catch::Approx(1.0 / std::sqrt(rho * rho + s * s)).epsilon(1e-14));
    const TargetWeights w = target_weights(Prediction::kEdm, {1.0, rho}, variance_exploding(), s);
    // Unit variance of the target for data of standard deviation s: the reason for these constants.
    CATCH_CHECK(w.on_x0 * w.on_x0 * s * s + w.on_eps * w.on_eps == Catch::Approx(1.0).epsilon(1e-14));
  }
}

CATCH_TEST_CASE("only noise and score refuse a level without signal", "[math][scalings]") {
  int refused = 0;
  for (const Prediction prediction : all_predictions()) {
    const Level level{0.0, 1.0};
    const Scalings k = scalings(prediction, level, linear_path(), 0.5);
    CATCH_CAPTURE(prediction_name(prediction));
    CATCH_CHECK(std::isfinite(k.skip + k.out) == !refuses_alpha_zero(prediction));
    refused += refuses_alpha_zero(prediction) ? 1 : 0;
  }
  CATCH_CHECK(refused == 2);
}

CATCH_TEST_CASE("targets are finite at the clean level except the score", "[math][scalings]") {
  for (const Path* path : standard_paths())
    for (const Prediction prediction : all_predictions()) {
      const TargetWeights w = target_weights(prediction, {1.0, 0.0}, *path, 0.5);
      CATCH_CHECK(std::isfinite(w.on_x0 + w.on_eps) == (prediction != Prediction::kScore));
    }
}

CATCH_TEST_CASE("prediction names go there and back and misspellings get a hint", "[math][scalings]") {
  for (const Prediction prediction : all_predictions())
    CATCH_CHECK(prediction_from_name(prediction_name(prediction)) == prediction);
  CATCH_CHECK(has_text(message_of([&] { prediction_from_name("velocty"); }), "Did you mean \"velocity\"?"));
}

CATCH_TEST_CASE("a variance-exploding state reaches the network at unit scale", "[math][scalings]") {
  const Level level{1.0, 80.0};
  CATCH_CHECK(scalings(Prediction::kNoise, level, variance_exploding()).in == Catch::Approx(1.0 / std::sqrt(6401.0)));
  CATCH_CHECK(scalings(Prediction::kNoise, variance_preserving().at(0.0), variance_preserving()).in == 1.0);
}

namespace {

double weight(const std::string& name, const std::string& options, Prediction prediction, const Level& level) {
  const WeightingPtr w = all_weightings().create(section(name, options), "");
  return w->on_output(level, scalings(prediction, level, variance_preserving(), 0.5), 0.5);
}

}  // namespace

CATCH_TEST_CASE("weightings agree where papers say they are the same loss", "[math][weighting]") {
  CATCH_REQUIRE(all_weightings().entries().size() == 11);
  for (double lambda : {-3.0, -0.5, 0.0, 1.0, 4.0}) {
    CATCH_CAPTURE(lambda);
    const Level level = variance_preserving().at(lambda);
    const double snr = std::exp(2 * lambda);
    const auto near = [](double x) { return Catch::Approx(x).epsilon(1e-12); };
    CATCH_CHECK(weight("snr", "", Prediction::kNoise, level) == near(1.0));  // L_simple
    CATCH_CHECK(weight("edm", "", Prediction::kEdm, level) == near(1.0));
    CATCH_CHECK(weight("uniform", "", Prediction::kV, level) == 1.0);
    CATCH_CHECK(weight("snr", "", Prediction::kData, level) == near(snr));
    CATCH_CHECK(weight("truncated_snr", "", Prediction::kData, level) == near(std::max(snr, 1.0)));
    CATCH_CHECK(weight("min_snr", "gamma: 5", Prediction::kNoise, level) == near(std::min(snr, 5.0) / snr));
    // Hang et al. 2023: with v prediction the weight is min(SNR, gamma) / (SNR + 1).
    CATCH_CHECK(weight("min_snr", "gamma: 5", Prediction::kV, level) == near(std::min(snr, 5.0) / (snr + 1)));
    CATCH_CHECK(weight("p2", "k: 1, gamma: 1", Prediction::kNoise, level) == near(1.0 / (1 + snr)));
    CATCH_CHECK(weight("p2", "gamma: 0", Prediction::kNoise, level) == near(1.0));
    CATCH_CHECK(weight("vlb", "", Prediction::kNoise, level) == near(1.0));
    const double t = level.sigma / (level.alpha + level.sigma);
    CATCH_CHECK(weight("sigma_sqrt", "", Prediction::kData, level) == near(1 / (t * t)));
    CATCH_CHECK(weight("cosmap", "", Prediction::kData, level) ==
                near(2 / (std::numbers::pi * (1 - 2 * t + 2 * t * t))));
    CATCH_CHECK(weight("sigmoid", "bias: 1.5", Prediction::kNoise, level) ==
                near(1 / (1 + std::exp(2 * lambda - 1.5))));
    // snr sigmoid(b - log snr) = e^b snr / (snr + e^b): one loss under two names.
    CATCH_CHECK(weight("soft_min_snr", "gamma: " + std::to_string(4.0), Prediction::kData, level) ==
                Catch::Approx(weight("sigmoid", "bias: " + format_double(std::log(4.0)), Prediction::kData, level))
                    .epsilon(1e-12));
  }
}

CATCH_TEST_CASE("sigma_sqrt is the plain loss of a straight path's velocity", "[math][weighting]") {
  const WeightingPtr w = all_weightings().create(section("sigma_sqrt", ""), "");
  for (double lambda : {-3.0, 0.0, 4.0}) {
    const Level level = linear_path().at(lambda);
    const Scalings k = scalings(Prediction::kVelocity, level, linear_path(), 0.5);
    CATCH_CHECK(w->on_output(level, k, 0.5) == Catch::Approx(1.0).epsilon(1e-12));
  }
}

namespace {

constexpr double kSpread = 0.6;

// E |F - F*|^2 of data N(0, kSpread^2) and a network whose x0 estimate is gain x: F = (gain - skip) / out x.
double expected_loss(Prediction prediction, const Level& level, const Path& path, double gain) {
  const Scalings k = scalings(prediction, level, path, 0.5);
  const TargetWeights target = target_weights(prediction, level, path, 0.5);
  const double f = (gain - k.skip) / k.out;
  return std::pow((f * level.alpha - target.on_x0) * kSpread, 2) + std::pow(f * level.sigma - target.on_eps, 2);
}

double best_gain(const Level& level) {
  const double data = kSpread * kSpread;
  return level.alpha * data / (level.alpha * level.alpha * data + level.sigma * level.sigma);
}

}  // namespace

CATCH_TEST_CASE("every prediction with every weighting is one bound, weighted by level alone", "[math][weighting]") {
  int checked = 0;
  for (const std::string& name : all_weightings().names()) {
    if (name == "uniform") continue;  // by its definition a different weight for each prediction
    const WeightingPtr w = all_weightings().create(section(name, ""), "");
    for (const Path* path : standard_paths())
      for (double lambda : {-3.0, -0.3, 0.4, 3.0})
        for (double error : {0.7, 1.0, 1.4}) {  // of the network, times the best one
          const Level level = path->at(lambda);
          const double gain = error * best_gain(level);
          // The bound's integrand along lambda: SNR E |x0 - gain x|^2.
          const double bound = std::exp(2 * lambda) * (std::pow(1 - gain * level.alpha, 2) * kSpread * kSpread +
                                                       std::pow(gain * level.sigma, 2));
          const double on_bound = w->on_output(level, scalings(Prediction::kNoise, level, *path, 0.5), 0.5);
          for (const Prediction prediction : all_predictions()) {
            CATCH_CAPTURE(name, path->name(), lambda, error, prediction_name(prediction));
            const double loss = w->on_output(level, scalings(prediction, level, *path, 0.5), 0.5) *
                                expected_loss(prediction, level, *path, gain);
            CATCH_CHECK(loss == Catch::Approx(on_bound * bound).epsilon(1e-10));
            ++checked;
          }
        }
  }
  CATCH_CHECK(checked == 10 * 5 * 4 * 3 * 6);
}

CATCH_TEST_CASE("the vlb weighting in time adds up to the information between its ends, on every schedule",
                "[math][weighting]") {
  const WeightingPtr w = all_weightings().create(section("vlb", ""), "");
  ScheduleRegistry schedules("schedule");
  register_schedules(schedules);
  for (const char* name : {"cosine", "sigmoid", "flow", "linear", "vp_sde"}) {
    const SchedulePtr schedule = schedules.create(section(name, ""), "");
    const double begin = schedule->t_min(), range = schedule->t_max() - begin;
    // A flow ends in infinities: both ends are cut off, and the integral below knows.
    const double margin = 1e-3;
    const int n = 200000;
    double mean = 0.0;
    for (int i = 0; i < n; ++i) {
      const double u = margin + (1 - 2 * margin) * (i + 0.5) / n;
      const Level level = schedule->at(begin + range * u);
      const Scalings k = scalings(Prediction::kV, level, schedule->path(), 0.5);
      mean += w->on_output_in_time(*schedule, level, k, 0.5) *
              expected_loss(Prediction::kV, level, schedule->path(), best_gain(level)) * (1 - 2 * margin) / n;
    }
    // Guo, Shamai and Verdu 2005, eq. 1: the mean squared error is twice the derivative of the information by the SNR.
    const auto information = [&](double u) {
      const double rho = schedule->at(begin + range * u).rho();
      return 0.5 * std::log1p(kSpread * kSpread / (rho * rho));
    };
    CATCH_CAPTURE(name);
    // The midpoint rule on the steep cleanest part, where lambda runs fastest.
    CATCH_CHECK(mean == Catch::Approx(information(margin) - information(1 - margin)).epsilon(2e-4));
  }
}

CATCH_TEST_CASE("every weighting is finite and positive on every training level", "[math][weighting]") {
  int checked = 0;
  for (const std::string& name : all_weightings().names())
    for (const Path* path : standard_paths())
      for (const Prediction prediction : all_predictions())
        for (double lambda : {-10.0, 0.0, 10.0}) {
          const WeightingPtr w = all_weightings().create(section(name, ""), "");
          const Level level = path->at(lambda);
          const double value = w->on_output(level, scalings(prediction, level, *path, 0.5), 0.5);
          CATCH_CAPTURE(name, path->name(), prediction_name(prediction), lambda);
          CATCH_CHECK((std::isfinite(value) && value > 0.0));
          ++checked;
        }
  CATCH_CHECK(checked == 11 * 5 * 6 * 3);
}
