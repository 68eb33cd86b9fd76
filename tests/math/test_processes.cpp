#include "tests/catch.h"

#include <cmath>
#include <numbers>

#include "tests/plans.h"

using namespace thaw;
using namespace thaw::testing;

namespace {

double alpha_bar(const Schedule& schedule, double t) {
  return std::pow(schedule.at(t).alpha, 2);
}

}  // namespace

CATCH_TEST_CASE("the cosine with offset is the continuous curve that its table samples", "[math][schedule]") {
  const SchedulePtr curve = make_schedule("cosine", "offset: 0.008, lambda_max: 8");
  const auto f = [](double t) { return std::pow(std::cos((t + 0.008) / 1.008 * 0.5 * std::numbers::pi), 2); };
  for (double t : {0.01, 0.3, 0.7, 0.99}) {
    CATCH_CAPTURE(t);
    CATCH_CHECK(alpha_bar(*curve, t) == Catch::Approx(f(t) / f(0.0)).epsilon(1e-12));
    CATCH_CHECK(curve->time_of(curve->lambda(t)) == Catch::Approx(t).epsilon(1e-12));
  }
  // Nichol and Dhariwal's table telescopes to the curve as long as no beta reaches the cap of 0.999.
  const SchedulePtr table = make_schedule("squaredcos");
  for (int i : {0, 99, 499, 997})
    CATCH_CHECK(alpha_bar(*table, i) == Catch::Approx(f((i + 1) / 1000.0) / f(0.0)).epsilon(1e-11));
  CATCH_CHECK(alpha_bar(*table, 999) == Catch::Approx(0.001 * alpha_bar(*table, 998)).epsilon(1e-11));
}

CATCH_TEST_CASE("a shift of lambda multiplies the noise-to-signal ratio", "[math][schedule]") {
  // Simple diffusion at 256 pixels: log SNR + 2 ln(64 / 256).
  const SchedulePtr plain = make_schedule("cosine"),
                    shifted = make_schedule("cosine", "lambda_shift: -1.3862943611198906");
  for (double t : {0.1, 0.5, 0.9})
    CATCH_CHECK(shifted->at(t).rho() == Catch::Approx(4.0 * plain->at(t).rho()).epsilon(1e-12));
  CATCH_CHECK(shifted->lambda(shifted->t_max()) == -10.0);
  for (const char* name : {"sigmoid", "laplace"}) {
    const SchedulePtr one = make_schedule(name, "lambda_shift: 0.5");
    CATCH_CHECK(one->lambda(0.4) == Catch::Approx(make_schedule(name)->lambda(0.4) + 0.5).epsilon(1e-13));
    CATCH_CHECK(one->time_of(one->lambda(0.4)) == Catch::Approx(0.4).epsilon(1e-12));
  }
}

CATCH_TEST_CASE("the stochastic differential equations have their marginals", "[math][schedule]") {
  const SchedulePtr ve = make_schedule("ve");
  CATCH_CHECK(ve->at(0.5).sigma == Catch::Approx(std::sqrt(0.01 * 50.0)).epsilon(1e-14));
  CATCH_CHECK(ve->at(0.5).alpha == 1.0);

  const SchedulePtr vp = make_schedule("vp_sde"), sub = make_schedule("sub_vp_sde");
  for (double t : {0.001, 0.2, 0.6, 1.0}) {
    const double integral = 0.1 * t + 0.5 * (20.0 - 0.1) * t * t;
    CATCH_CAPTURE(t);
    CATCH_CHECK(alpha_bar(*vp, t) == Catch::Approx(std::exp(-integral)).epsilon(1e-14));
    CATCH_CHECK(sub->at(t).alpha == vp->at(t).alpha);
    CATCH_CHECK(sub->at(t).sigma == Catch::Approx(1.0 - std::exp(-integral)).epsilon(1e-12));
    CATCH_CHECK(sub->time_of(sub->lambda(t)) == Catch::Approx(t).epsilon(1e-11));
  }
  // The table of Ho et al. 2020 is the Euler scheme of vp_sde: first order in 1 / T.
  const auto gap = [&](int train) {
    const std::string options = "timesteps: " + std::to_string(train) + ", beta_start: " + std::to_string(0.1 / train) +
                                ", beta_end: " + std::to_string(20.0 / train);
    return std::abs(std::log(alpha_bar(*make_schedule("linear", options), train / 2 - 1) / alpha_bar(*vp, 0.5)));
  };
  CATCH_CHECK(gap(1000) < 0.02);
  CATCH_CHECK(gap(1000) / gap(4000) == Catch::Approx(4.0).epsilon(0.05));
  CATCH_CHECK(has_text(message_of([] { make_schedule("vp_sde", "beta_min: 5, beta_max: 2"); }),
                       "beta_max: must be at least beta_min 5, got 2."));
  CATCH_CHECK(has_text(message_of([] { make_schedule("ve", "sigma_min: 5, sigma_max: 2"); }),
                       "sigma_max: must be above sigma_min 5, got 2."));
}

CATCH_TEST_CASE("trigflow is the circle of the angle, with the spread of the data", "[math][schedule]") {
  const SchedulePtr trig = make_schedule("trigflow", "sigma_data: 0.25");
  CATCH_CHECK(trig->at(0.4).alpha == Catch::Approx(std::cos(0.4)).epsilon(1e-15));
  CATCH_CHECK(trig->at(0.4).sigma == Catch::Approx(0.25 * std::sin(0.4)).epsilon(1e-15));
  CATCH_CHECK(trig->at(trig->t_max()) == Level{0.0, 0.25});
  CATCH_CHECK(&trig->path() == &trigonometric_path(0.25));
  // With sigma_data 1 it is the cosine schedule, whose time is the angle in units of pi / 2.
  const SchedulePtr unit = make_schedule("trigflow", "sigma_data: 1"), cosine = make_schedule("cosine");
  CATCH_CHECK(unit->lambda(0.3 * 0.5 * std::numbers::pi) == Catch::Approx(cosine->lambda(0.3)).epsilon(1e-14));
}

CATCH_TEST_CASE("flow shifts by resolution, stretches to a terminal sigma and keeps some signal", "[math][schedule]") {
  // Flux: mu 0.5 at 256 tokens, 1.15 at 4096, shift e^mu.
  const auto shift_of = [](const std::string& options) {
    const Level level = make_schedule("flow_dynamic", options)->at(0.5);
    return level.sigma / level.alpha;
  };
  CATCH_CHECK(shift_of("image_seq_len: 4096") == Catch::Approx(std::exp(1.15)).epsilon(1e-14));
  CATCH_CHECK(shift_of("image_seq_len: 256") == Catch::Approx(std::exp(0.5)).epsilon(1e-14));
  CATCH_CHECK(shift_of("image_seq_len: 2176, time_shift: linear") == Catch::Approx(0.825).epsilon(1e-14));
  CATCH_CHECK(has_text(message_of([&] { shift_of("image_seq_len: 1, base_shift: -3, time_shift: linear"); }),
                       "image_seq_len: gives the shift"));
  CATCH_CHECK(has_text(message_of([&] { shift_of("base_image_seq_len: 5000"); }), "must be above base_image_seq_len"));

  const SchedulePtr stretched = make_schedule("flow", "shift: 3, t_min: 0.1, shift_terminal: 0.1");
  CATCH_CHECK(stretched->at(0.1).sigma == Catch::Approx(0.1).epsilon(1e-14));
  CATCH_CHECK(stretched->at(1.0) == Level{0.0, 1.0});
  for (double t : {0.1, 0.35, 0.8, 1.0})
    CATCH_CHECK(stretched->time_of(stretched->lambda(t)) == Catch::Approx(t).epsilon(1e-12));

  const SchedulePtr kept = make_schedule("flow", "alpha_min: 1.0e-6");
  CATCH_CHECK(kept->at(1.0) == Level{1e-6, 1.0 - 1e-6});
  CATCH_CHECK(kept->at(0.9) == make_schedule("flow")->at(0.9));
  CATCH_CHECK(!kept->reaches_alpha_zero());
  CATCH_CHECK(kept->time_of(kept->lambda(1.0)) == 1.0);
}

CATCH_TEST_CASE("a table can be given, shifted, cut and closed", "[math][schedule]") {
  const SchedulePtr given = make_schedule("betas", "betas: [0.1, 0.2, 0.5]");
  CATCH_CHECK(given->discrete_steps() == 3);
  CATCH_CHECK(alpha_bar(*given, 2) == Catch::Approx(0.9 * 0.8 * 0.5).epsilon(1e-15));
  CATCH_CHECK(has_text(message_of([] { make_schedule("betas", "betas: [0.1]"); }), "needs at least 2 numbers, got 1."));
  CATCH_CHECK(has_text(message_of([] { make_schedule("betas"); }), "betas"));
  CATCH_CHECK_THROWS_AS(make_schedule("betas", "betas: [0.1, 1.5]"), ConfigError);

  const SchedulePtr plain = make_schedule("scaled_linear"), shifted = make_schedule("scaled_linear", "snr_shift: 3");
  for (int i : {0, 500, 999})
    CATCH_CHECK(shifted->at(i).rho() == Catch::Approx(std::sqrt(3.0) * plain->at(i).rho()).epsilon(1e-11));

  const SchedulePtr cut = make_schedule("squaredcos", "lambda_cut: -3");
  CATCH_CHECK(cut->discrete_steps() == 1000);
  CATCH_CHECK(cut->lambda(cut->t_max()) >= -3.0);
  CATCH_CHECK(make_schedule("squaredcos")->lambda(cut->t_max() + 1.0) < -3.0);
  CATCH_CHECK(cut->time_of(-5.0) == cut->t_max());
  CATCH_CHECK(has_text(message_of([] { make_schedule("linear", "lambda_cut: 10"); }), "leaves 1 timestep of 1000."));

  const SchedulePtr closed = make_schedule("linear", "zero_terminal_snr: true, last_alpha_bar: 5.960464477539063e-08");
  CATCH_CHECK(alpha_bar(*closed, 999) == Catch::Approx(std::pow(2.0, -24)).epsilon(1e-14));
  // On this table the timestep before has less signal: diffusers' tables do not fall there, and neither do these.
  CATCH_CHECK(closed->at(998).alpha < closed->at(999).alpha);
  CATCH_CHECK(closed->time_of(closed->lambda(999)) == 999.0);
  CATCH_CHECK(closed->time_of(closed->lambda(900)) == Catch::Approx(900.0).epsilon(1e-12));
}

CATCH_TEST_CASE("every table can be rescaled to no signal at its end", "[math][schedule]") {
  int tables = 0;
  for (const auto& entry : all_schedules().entries()) {
    if (!entry.info.has_trait("discrete")) continue;
    ++tables;
    const std::string own = entry.info.name == "betas" ? "betas: [0.1, 0.2, 0.5], " : "";
    const SchedulePtr plain = make_schedule(entry.info.name, own),
                      rescaled = make_schedule(entry.info.name, own + "zero_terminal_snr: true");
    CATCH_CAPTURE(entry.info.name);
    CATCH_CHECK(rescaled->at(rescaled->t_max()) == Level{0.0, 1.0});
    CATCH_CHECK(rescaled->at(0).alpha == Catch::Approx(plain->at(0).alpha).epsilon(1e-15));
    for (double t = 1.0; t <= rescaled->t_max(); ++t) CATCH_REQUIRE(rescaled->lambda(t) < rescaled->lambda(t - 1.0));
  }
  CATCH_CHECK(tables == 7);
}
