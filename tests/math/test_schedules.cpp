#include "tests/catch.h"

#include <cmath>
#include <numbers>

#include "tests/plans.h"

using namespace thaw;
using namespace thaw::testing;

namespace {

// A value for the option that has no default.
std::string required_of(const std::string& schedule) {
  return schedule == "betas" ? "betas: [0.01, 0.02, 0.04, 0.05, 0.1, 0.2, 0.25, 0.3]" : "";
}

double logistic(double x) {
  return 1.0 / (1.0 + std::exp(-x));
}

}  // namespace

CATCH_TEST_CASE("every path has the levels of its definition", "[math][path]") {
  CATCH_REQUIRE(standard_paths().size() == 5);
  for (const Path* path : standard_paths())
    for (double lambda : {-4.0, -1.0, 0.0, 0.75, 3.0, 12.0}) {
      CATCH_CAPTURE(path->name(), lambda);
      const Level level = path->at(lambda);
      CATCH_CHECK(level.lambda() == Catch::Approx(lambda).margin(1e-12));
      if (path == &variance_preserving())
        CATCH_CHECK(std::hypot(level.alpha, level.sigma) == Catch::Approx(1.0).epsilon(1e-15));
      if (path == &linear_path()) CATCH_CHECK(level.alpha + level.sigma == Catch::Approx(1.0).epsilon(1e-15));
      if (path == &variance_exploding()) CATCH_CHECK(level.alpha == 1.0);
      if (path == &sub_variance_preserving())
        CATCH_CHECK(level.sigma == Catch::Approx(1.0 - level.alpha * level.alpha).margin(1e-15));
      if (path == &trigonometric_path(0.5))
        CATCH_CHECK(std::hypot(level.alpha, level.sigma / 0.5) == Catch::Approx(1.0).epsilon(1e-15));
    }
}

CATCH_TEST_CASE("a path gives the level of a noise scale and refuses none below its largest", "[math][path]") {
  for (const Path* path : standard_paths())
    for (double lambda : {-4.0, -1.0, 0.0, 3.0}) {
      const Level level = path->at(lambda);
      CATCH_CAPTURE(path->name(), lambda);
      CATCH_CHECK(path->at_sigma(level.sigma).alpha == Catch::Approx(level.alpha).epsilon(1e-10));  // 1 - sigma at -4
      CATCH_CHECK(level.sigma <= path->largest_sigma());
    }
  CATCH_CHECK(&trigonometric_path(0.5) == &trigonometric_path(0.5));
  CATCH_CHECK(&trigonometric_path(0.5) != &trigonometric_path(0.25));
}

CATCH_TEST_CASE("a path's slope is tangent to it", "[math][path]") {
  for (const Path* path : standard_paths())
    for (double lambda : {-2.0, 0.0, 1.5}) {
      const double step = 1e-6;
      const Level level = path->at(lambda), before = path->at(lambda - step), after = path->at(lambda + step);
      const PathSlope slope = path->slope(level);
      CATCH_CAPTURE(path->name(), lambda);
      // Two directions are one where their cross product vanishes; time runs against lambda. Central differences:
      // 1e-12.
      const double across = slope.alpha * (after.sigma - before.sigma) - slope.sigma * (after.alpha - before.alpha);
      CATCH_CHECK(std::abs(across) / (2.0 * step) < 1e-9);
      CATCH_CHECK(slope.sigma * (after.sigma - before.sigma) + slope.alpha * (after.alpha - before.alpha) < 0.0);
    }
}

CATCH_TEST_CASE("the ends of lambda are the clean level and no signal", "[math][path]") {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const Path* path : standard_paths()) CATCH_CHECK(path->at(infinity) == Level{1.0, 0.0});
  CATCH_CHECK(variance_preserving().at(-infinity) == Level{0.0, 1.0});
  CATCH_CHECK(linear_path().at(-infinity) == Level{0.0, 1.0});
  CATCH_CHECK(sub_variance_preserving().at(-infinity) == Level{0.0, 1.0});
  CATCH_CHECK(trigonometric_path(0.5).at(-infinity) == Level{0.0, 0.5});
}

CATCH_TEST_CASE("time and lambda are inverse on every schedule", "[math][schedule]") {
  const ScheduleRegistry& registry = all_schedules();
  CATCH_REQUIRE(registry.entries().size() == 17);
  for (const std::string& name : registry.names()) {
    const SchedulePtr schedule = make_schedule(name, required_of(name));
    CATCH_CHECK(schedule->name() == name);
    for (int i = 1; i < 40; ++i) {
      const double share = i / 40.0;
      const double t = schedule->t_min() + share * (schedule->t_max() - schedule->t_min());
      const double lambda = schedule->lambda(t);
      CATCH_CAPTURE(name, t, lambda);
      CATCH_CHECK(schedule->time_of(lambda) == Catch::Approx(t).epsilon(1e-12));
      CATCH_CHECK(schedule->at(t).lambda() == Catch::Approx(lambda).margin(1e-12));
      const double later = schedule->t_min() + (share + 0.01) * (schedule->t_max() - schedule->t_min());
      CATCH_CHECK(schedule->lambda(later) < lambda);
    }
  }
}

CATCH_TEST_CASE("the ends of every schedule are consistent", "[math][schedule]") {
  for (const auto& entry : all_schedules().entries()) {
    const SchedulePtr schedule = make_schedule(entry.info.name, required_of(entry.info.name));
    CATCH_CAPTURE(entry.info.name);
    CATCH_CHECK(schedule->time_of(schedule->lambda(schedule->t_max())) ==
                Catch::Approx(schedule->t_max()).epsilon(1e-12));
    CATCH_CHECK(schedule->time_of(schedule->lambda(schedule->t_min())) ==
                Catch::Approx(schedule->t_min()).epsilon(1e-12));
    CATCH_CHECK(schedule->reaches_alpha_zero() == entry.info.has_trait("reaches_alpha_zero"));
    CATCH_CHECK((schedule->discrete_steps() > 0) == entry.info.has_trait("discrete"));
    CATCH_CHECK(!entry.info.source.empty());
  }
}

CATCH_TEST_CASE("continuous schedules have their closed forms", "[math][schedule]") {
  const double t = 0.3;
  const Level cosine = make_schedule("cosine")->at(t);
  CATCH_CHECK(cosine.alpha == Catch::Approx(std::cos(0.5 * std::numbers::pi * t)).epsilon(1e-14));
  CATCH_CHECK(cosine.sigma == Catch::Approx(std::sin(0.5 * std::numbers::pi * t)).epsilon(1e-14));

  const double u = -3.0 + 6.0 * t;
  const double alpha_bar = (logistic(3.0) - logistic(u)) / (logistic(3.0) - logistic(-3.0));
  CATCH_CHECK(std::pow(make_schedule("sigmoid")->at(t).alpha, 2) == Catch::Approx(alpha_bar).epsilon(1e-13));

  const double log_snr = 2.0 - 0.7 * 1.0 * std::log(1.0 - 2.0 * (0.5 - t));
  CATCH_CHECK(2.0 * make_schedule("laplace", "mean: 2, scale: 0.7")->lambda(t) ==
              Catch::Approx(log_snr).epsilon(1e-14));

  const Level flow = make_schedule("flow", "shift: 3")->at(t);
  CATCH_CHECK(flow.sigma == Catch::Approx(3 * t / (1 + 2 * t)).epsilon(1e-15));
  CATCH_CHECK(flow.alpha + flow.sigma == Catch::Approx(1.0).epsilon(1e-15));
  CATCH_CHECK(make_schedule("edm")->at(5.0) == Level{1.0, 5.0});
}

CATCH_TEST_CASE("tables hold the cumulative products of their betas", "[math][schedule]") {
  const SchedulePtr linear = make_schedule("linear");
  const SchedulePtr scaled = make_schedule("scaled_linear");
  const SchedulePtr squaredcos = make_schedule("squaredcos");
  double product[3] = {1, 1, 1};
  for (int i = 0; i < 1000; ++i) {
    product[0] *= 1.0 - (1e-4 + (0.02 - 1e-4) * i / 999.0);
    const double root = std::sqrt(0.00085) + (std::sqrt(0.012) - std::sqrt(0.00085)) * i / 999.0;
    product[1] *= 1.0 - root * root;
    const auto f = [](int j) { return std::pow(std::cos((j / 1000.0 + 0.008) / 1.008 * 0.5 * std::numbers::pi), 2); };
    product[2] *= 1.0 - std::min(0.999, 1.0 - f(i + 1) / f(i));
    CATCH_CAPTURE(i);
    CATCH_REQUIRE(std::pow(linear->at(i).alpha, 2) == Catch::Approx(product[0]).epsilon(1e-12));
    CATCH_REQUIRE(std::pow(scaled->at(i).alpha, 2) == Catch::Approx(product[1]).epsilon(1e-12));
    CATCH_REQUIRE(std::pow(squaredcos->at(i).alpha, 2) == Catch::Approx(product[2]).epsilon(1e-12));
  }
  // Published end of the table of Ho et al. 2020.
  CATCH_CHECK(std::pow(linear->at(999).alpha, 2) == Catch::Approx(4.0358e-5).epsilon(1e-4));
}

CATCH_TEST_CASE("a table interpolates lambda between timesteps", "[math][schedule]") {
  const SchedulePtr table = make_schedule("linear");
  CATCH_CHECK(table->lambda(10.25) ==
              Catch::Approx(0.75 * table->lambda(10) + 0.25 * table->lambda(11)).epsilon(1e-14));
  CATCH_CHECK(table->lambda(-3) == table->lambda(0));
  CATCH_CHECK(table->lambda(5000) == table->lambda(999));
}

CATCH_TEST_CASE("zero terminal SNR removes the last signal and keeps the first level", "[math][schedule]") {
  for (const char* name : {"linear", "scaled_linear", "squaredcos"}) {
    const SchedulePtr plain = make_schedule(name);
    const SchedulePtr rescaled = make_schedule(name, "zero_terminal_snr: true");
    CATCH_CAPTURE(name);
    CATCH_CHECK(rescaled->at(999) == Level{0.0, 1.0});
    CATCH_CHECK(rescaled->reaches_alpha_zero());
    CATCH_CHECK(rescaled->at(0).alpha == Catch::Approx(plain->at(0).alpha).epsilon(1e-15));
    CATCH_CHECK(rescaled->time_of(rescaled->lambda(998)) == Catch::Approx(998.0).epsilon(1e-12));
    CATCH_CHECK(rescaled->time_of(-1e300) == 999.0);
  }
}

CATCH_TEST_CASE("a schedule with its ends crossed is refused with the place", "[math][schedule]") {
  CATCH_CHECK(has_text(message_of([&] { make_schedule("cosine", "lambda_min: 3, lambda_max: 2"); }),
                       "lambda_max: must be above lambda_min 3, got 2."));
  CATCH_CHECK_THROWS_AS(make_schedule("edm", "sigma_min: 5, sigma_max: 5"), ConfigError);
  CATCH_CHECK_THROWS_AS(make_schedule("cosin"), ConfigError);
}
