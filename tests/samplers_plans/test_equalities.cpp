// Methods that are the same under several names, and methods that are only said to be.
#include "tests/catch.h"

#include <cmath>

#include "core/math/plan_analysis.h"
#include "tests/plans.h"

using namespace thaw;
using namespace thaw::testing;

namespace {

struct Method {
  const char* sampler;
  const char* options = "";
};

struct Pair {
  Method left, right;
};

// Uneven in lambda, in rho and in time; rho from 3 to 0.05, so that weights are of order 1 and 1e-12 is rounding.
std::vector<Grid> uneven_grids() {
  const double lambdas[] = {-1.1, -0.7, -0.05, 0.3, 0.85, 1.6, 1.9, 2.5, 3.0};
  std::vector<Grid> grids;
  for (const Path* path : standard_paths()) {
    std::vector<Level> levels;
    for (const double lambda : lambdas) levels.push_back(path->at(lambda));
    grids.push_back(make_grid(*path, levels));
    levels.push_back({1.0, 0.0});
    grids.push_back(make_grid(*path, levels));
  }
  return grids;
}

double distance(const Method& left, const Method& right, const Grid& grid) {
  return plan_distance(make_solver(left.sampler, left.options)(grid), make_solver(right.sampler, right.options)(grid));
}

constexpr const char* kHeun = "solver_type: heun";
constexpr const char* kSimpleFlow = "tau: 0, coefficients: simplified";

}  // namespace

CATCH_TEST_CASE("one method under several names has one normal form", "[samplers][equalities]") {
  const std::vector<Pair> pairs{
      // the first-order family
      {{"euler"}, {"ddim"}},
      {{"dpmpp_1s"}, {"ddim"}},
      {{"exponential_ab", "order: 1"}, {"ddim"}},
      {{"deis", "order: 1"}, {"ddim"}},
      {{"lms", "order: 1"}, {"ddim"}},
      {{"ipndm", "order: 1"}, {"ddim"}},
      {{"gradient_estimation", "gamma: 1"}, {"ddim"}},
      {{"unipc", "order: 1, corrector: false"}, {"ddim"}},
      {{"ctm", "gamma: 0"}, {"ddim"}},
      {{"er_sde", "order: 1, solver_type: ode"}, {"ddim"}},
      {{"ddpm"}, {"ddim", "eta: 1"}},
      {{"euler_ancestral"}, {"ddim", "eta: 1"}},
      {{"sa_solver", "predictor_order: 1, corrector_order: 0"}, {"ddim", "eta: 1"}},
      {{"er_sde", "order: 1, solver_type: reverse_sde"}, {"ddim", "eta: 1"}},
      {{"lcm"}, {"consistency"}},
      {{"ctm", "gamma: 1"}, {"consistency"}},
      // second order
      {{"dpm_2s"}, {"dpm2"}},
      {{"res_2s"}, {"dpmpp_2s", kHeun}},
      {{"res_multistep"}, {"dpmpp_2m", kHeun}},
      {{"exponential_ab", "order: 2"}, {"dpmpp_2m", kHeun}},
      {{"unipc", "corrector: false"}, {"dpmpp_2m"}},
      {{"unipc", "corrector: false, prediction: noise"}, {"dpm_2m"}},
      {{"deis", "order: 2"}, {"dpm_2m", kHeun}},
      {{"gradient_estimation", "gamma: 1.5"}, {"ipndm", "order: 2"}},
      {{"dpmpp_2m_sde", "tau2: 0"}, {"dpmpp_2m"}},
      {{"sa_solver", "predictor_order: 2, corrector_order: 0"}, {"dpmpp_2m_sde", kHeun}},
      // third order and above
      {{"deis"}, {"dpm_3m", kHeun}},
      {{"unipc", "order: 3, corrector: false"}, {"dpmpp_3m"}},
      {{"unipc", "order: 3, corrector: false, variant: bh1, prediction: noise, lower_order_final: always"},
       {"sa_solver",
        "predictor_order: 3, corrector_order: 0, tau: 0, coefficients: simplified, prediction: noise, "
        "lower_order_final: always"}},
      {{"exponential_ab", "order: 3"}, {"dpmpp_3m", kHeun}},
      {{"dpmpp_3m_sde"}, {"sa_solver", "predictor_order: 3, corrector_order: 0"}},
      {{"dpmpp_3m_sde", "tau2: 0"}, {"dpmpp_3m", kHeun}},
      {{"dpmpp_3m_sde_compat", "tau2: 0"}, {"dpmpp_3m_compat", kHeun}},
      {{"sa_solver", kSimpleFlow}, {"unipc", "order: 3, variant: bh1"}},
      {{"ipndm_v"}, {"lms"}},
  };
  for (const Grid& grid : uneven_grids())
    for (const Pair& pair : pairs) {
      CATCH_CAPTURE(grid.path->name(), grid.size(), pair.left.sampler, pair.left.options, pair.right.sampler,
                    pair.right.options);
      CATCH_CHECK(distance(pair.left, pair.right, grid) <= 1e-12);
    }
}

CATCH_TEST_CASE("euler along the velocity is ddim on straight paths and not on the circle", "[samplers][equalities]") {
  for (const Grid& grid : uneven_grids()) {
    const double gap = distance({"flow_euler"}, {"ddim"}, grid);
    CATCH_CAPTURE(grid.path->name(), gap);
    if (grid.path == &linear_path() || grid.path == &variance_exploding()) CATCH_CHECK(gap <= 1e-12);
    if (grid.path == &variance_preserving()) CATCH_CHECK(gap > 1e-2);
  }
}

CATCH_TEST_CASE("methods that differ have different normal forms", "[samplers][equalities]") {
  const std::vector<Pair> pairs{
      {{"dpmpp_2m"}, {"unipc", "corrector: false, variant: bh1"}},
      {{"dpmpp_2m"}, {"dpmpp_2m", kHeun}},
      {{"dpmpp_2m"}, {"dpm_2m"}},
      {{"dpmpp_2m"}, {"dpmpp_2m_v2"}},
      {{"dpmpp_3m"}, {"dpmpp_3m_compat"}},
      {{"dpm_3m"}, {"dpm_3m_compat"}},
      {{"dpmpp_3m_sde"}, {"dpmpp_3m_sde_compat"}},
      {{"dpmpp_3m_sde_compat"}, {"dpmpp_3m_sde_compat_hf", kHeun}},
      {{"lms"}, {"ipndm"}},
      {{"ipndm"}, {"ipndm_compat_hf", "final_order: one"}},
      {{"er_sde"}, {"er_sde_compat", "integrals: exact"}},
      {{"sa_solver", "predictor_order: 2, corrector_order: 2"},
       {"sa_solver", "predictor_order: 2, corrector_order: 2, coefficients: simplified"}},
      // eta of ancestral noise and the strength of the SDE agree at 0 and 1 only
      {{"ddim", "eta: 0.5"}, {"sa_solver", "predictor_order: 1, corrector_order: 0, tau: 0.5"}},
      {{"ddim", "eta: 0.5"}, {"sa_solver", "predictor_order: 1, corrector_order: 0, tau: 0.7071067811865476"}},
  };
  for (const Grid& grid : uneven_grids())
    for (const Pair& pair : pairs) {
      CATCH_CAPTURE(grid.path->name(), grid.size(), pair.left.sampler, pair.left.options, pair.right.sampler,
                    pair.right.options);
      CATCH_CHECK(distance(pair.left, pair.right, grid) > 1e-3);
    }
}

CATCH_TEST_CASE("order rules change the last steps they name and no others", "[samplers][equalities]") {
  const Grid noisy = uneven_grids()[0];
  CATCH_REQUIRE(noisy.steps() == 8);
  const auto gap = [&](const char* options, const char* other) {
    return distance({"dpmpp_3m", options}, {"dpmpp_3m", other}, noisy);
  };
  CATCH_CHECK(gap("lower_order_final: auto", "lower_order_final: always") == 0.0);  // 8 steps are few
  CATCH_CHECK(gap("lower_order_final: auto", "lower_order_final: never") > 1e-3);
  CATCH_CHECK(gap("lower_order_final: always, euler_at_final: true", "lower_order_final: always") == 0.0);
  CATCH_CHECK(gap("euler_at_final: true", "lower_order_final: always") > 1e-4);  // order 3 against 2, one step earlier
  CATCH_CHECK(gap("lower_order_final: always, repeats_last_level: true", "lower_order_final: always") > 1e-3);
  const Grid long_grid = karras_grid(15);
  CATCH_CHECK(distance({"deis", "lower_order_final: auto"}, {"deis", "lower_order_final: never"}, long_grid) == 0.0);
  CATCH_CHECK(distance({"deis", "lower_order_final: always"}, {"deis", "lower_order_final: never"}, long_grid) > 1e-6);

  // Only the last prediction but two is out of reach of the last two steps.
  const auto data = [&](const char* options) { return normal_form(make_solver("dpmpp_3m", options)(noisy)); };
  const Tableau free = data(""), lowered = data("lower_order_final: always");
  for (std::size_t i = 0; i + 2 < 8; ++i) CATCH_CHECK(free.inputs[i].on_data == lowered.inputs[i].on_data);
  CATCH_CHECK(free.inputs[7].on_data != lowered.inputs[7].on_data);
}

CATCH_TEST_CASE("correctors act where they are told to", "[samplers][equalities]") {
  const Grid grid = uneven_grids()[0];
  const auto marks = [&](const char* options) {
    int corrected = 0;
    const Plan plan = make_solver("unipc", options)(grid);
    for (const Instruction& instruction : plan.program)
      if (const auto* mark = std::get_if<Mark>(&instruction)) corrected += mark->kind == MarkKind::kCorrected;
    return corrected;
  };
  CATCH_CHECK(marks("") == 7);  // every level but the first and the last
  CATCH_CHECK(marks("corrector: false") == 0);
  CATCH_CHECK(marks("disable_corrector: [0, 3]") == 5);
  CATCH_CHECK(marks("repeats_last_level: true") == 8);
  const Plan repeated = make_solver("unipc", "repeats_last_level: true")(grid);
  CATCH_CHECK(repeated.evaluations() == 9);
  CATCH_CHECK(repeated.steps() == 8);
  CATCH_CHECK(point_mass_error(repeated) < 1e-9);
}

CATCH_TEST_CASE("polynomials in rho keep their order into the clean level only when asked", "[samplers][equalities]") {
  const Grid clean = uneven_grids()[1];
  for (const char* name : {"lms", "ipndm", "plms"}) {
    CATCH_CAPTURE(name);
    const Tableau one = normal_form(make_solver(name)(clean));
    const Tableau full = normal_form(make_solver(name, "final_order: full")(clean));
    CATCH_CHECK(std::abs(one.output.on_data.back() - 1.0) < 1e-12);  // the last step returns the data
    CATCH_CHECK(std::abs(full.output.on_data.back() - 1.0) > 1e-2);
    CATCH_CHECK(point_mass_error(make_solver(name, "final_order: full")(clean)) < 1e-9);
  }
  // From sigma 0.002 after a gap of 5e-5 the newest slope has the weight -6.2: rounding is amplified.
  CATCH_CHECK(normal_form(make_solver("lms", "final_order: full")(karras_grid(1000, "clean"))).output.on_data.back() ==
              Catch::Approx(6.218997731795373 / 0.002).epsilon(1e-6));
}

CATCH_TEST_CASE("pndm asks for levels between those of its grid", "[samplers][pndm]") {
  const std::string refusal = message_of([] { make_solver("pndm")(karras_grid(10)); });
  CATCH_CHECK(has_text(refusal, "sampler \"pndm\": its first steps need the levels at times between"));
  const Grid grid = make_grid_on(*make_schedule("linear"), "leading", 10);
  const Plan plan = make_solver("pndm")(grid);
  CATCH_CHECK(plan.evaluations() == 19);
  CATCH_CHECK(plan.steps() == 10);
  CATCH_CHECK(point_mass_error(plan) < 1e-9);
  // The second call asks half way down in time: 900 - 50.
  const SchedulePtr table = make_schedule("linear");
  CATCH_CHECK(normal_form(plan).lambdas[1] == Catch::Approx(table->lambda(850)).epsilon(1e-14));
  CATCH_CHECK(normal_form(plan).lambdas[3] == Catch::Approx(table->lambda(800)).epsilon(1e-14));
}

CATCH_TEST_CASE("the blind first step of ipndm_compat_hf ignores the first prediction", "[samplers][equalities]") {
  const Grid grid = make_grid_on(*make_schedule("linear", "zero_terminal_snr: true"), "trailing", 6);
  const Tableau tableau = normal_form(make_solver("ipndm_compat_hf")(grid));
  CATCH_CHECK(tableau.inputs[1].on_data.empty());
  CATCH_CHECK(tableau.output.on_data.at(0) == 0.0);
  CATCH_CHECK(normal_form(make_solver("ipndm")(grid)).inputs[1].on_data.at(0) > 0.5);
}
