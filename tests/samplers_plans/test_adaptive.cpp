#include "tests/catch.h"

#include <cmath>
#include <vector>

#include "core/math/brownian.h"
#include "core/math/host_machine.h"
#include "core/math/mixture.h"
#include "samplers/adaptive.h"
#include "tests/mixture.h"
#include "tests/plans.h"

using namespace thaw;
using namespace thaw::testing;

namespace {

using Vector = std::vector<double>;

struct Outcome {
  Vector x;
  std::int64_t evaluations = 0, sweeps = 0;
  std::vector<Level> marks;
  std::size_t max_registers = 0;
};

class CountingMachine : public HostMachine {
 public:
  using HostMachine::HostMachine;
  std::vector<Reg> evaluate_many(std::span<const Reg> x, std::span<const Level> levels) override {
    ++sweeps;
    return HostMachine::evaluate_many(x, levels);
  }
  std::int64_t sweeps = 0;
};

Outcome run(const Solver& solver, const Grid& grid, const Vector& x, const HostDenoiser& denoiser,
            std::size_t sample_size = 1, const HostNoise& noise = {}) {
  Outcome outcome;
  CountingMachine machine(x, sample_size, denoiser, noise,
                          [&](const Mark& mark, std::span<const double>) { outcome.marks.push_back(mark.level); });
  outcome.x = machine.run(solver.method(grid));
  outcome.evaluations = machine.evaluations();
  outcome.sweeps = machine.sweeps;
  outcome.max_registers = machine.max_registers();
  return outcome;
}

// lambda from ln(1 / 80) to ln(1 / 0.002) on any path, only the ends.
Grid ends(const Path& path) {
  return make_grid(path, {path.at(-std::log(80.0)), path.at(-std::log(0.002))});
}

const Vector kStart{-1.5, -0.6, -0.5, 0.3, 1.2};  // times rho, times alpha of the first level

Vector start_on(const Grid& grid) {
  Vector x = kStart;
  for (double& value : x) value *= grid.front().sigma;
  return x;
}

double mixture_error(const Outcome& outcome, const Grid& grid) {
  const Vector x = start_on(grid);
  double sum = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double gap = outcome.x[i] - reference_mixture().flow(x[i], grid.front(), grid.back());
    sum += gap * gap;
  }
  return std::sqrt(sum / static_cast<double>(x.size()));
}

std::string tolerances(double tolerance) {
  return "rtol: " + std::to_string(tolerance) + ", atol: " + std::to_string(tolerance);
}

// z of the interval, the same numbers whoever asks.
HostNoise path_noise(std::size_t count) {
  return [count](const Draw& draw) {
    std::vector<float> z(count);
    const NoiseKey key{.seed = 5, .purpose = Purpose::kFresh, .draw = draw.ordinal << 8 | draw.stream};
    if (draw.is_path)
      fill_path_increment(z, {.seed = 5}, draw.from, draw.to);
    else
      fill_normal(z, key);
    return Vector(z.begin(), z.end());
  };
}

Vector normals(std::size_t count, double scale) {
  std::vector<float> z(count);
  fill_normal(z, {.seed = 9, .purpose = Purpose::kStart});
  Vector x(z.begin(), z.end());
  for (double& value : x) value *= scale;
  return x;
}

double spread(const Vector& x) {
  double sum = 0.0;
  for (const double value : x) sum += value * value;
  return std::sqrt(sum / static_cast<double>(x.size()));
}

const std::vector<std::pair<std::string, std::string>> kPairs{
    {"rk45", ""}, {"rk45", "clock: rho"}, {"res_adaptive", ""}, {"dpm_adaptive", ""}, {"dpm_adaptive", "order: 2"}};

Solver solver_of(const std::pair<std::string, std::string>& row, const std::string& options) {
  return make_solver(row.first, row.second.empty() ? options : row.second + ", " + options);
}

}  // namespace

CATCH_TEST_CASE("the error of adaptive steps falls with the tolerance", "[samplers][adaptive]") {
  // Local errors add up: the end may be off by a few tolerances. max_steps is enough for all of these.
  const Grid grid = ends(variance_exploding());
  for (const auto& row : kPairs) {
    double before = 1e9;
    std::int64_t evaluations = 0;
    for (const double tolerance : {1e-2, 1e-3, 1e-4, 1e-5}) {
      CATCH_CAPTURE(row.first, row.second, tolerance);
      const Outcome outcome =
          run(solver_of(row, tolerances(tolerance) + ", max_steps: 100000"), grid, start_on(grid), denoise_mixture);
      const double error = mixture_error(outcome, grid);
      CATCH_CHECK(error < 10.0 * tolerance);
      CATCH_CHECK(error < 0.5 * before);
      CATCH_CHECK(outcome.evaluations > evaluations);
      CATCH_CHECK(outcome.max_registers <= 14);
      CATCH_CHECK(outcome.marks.back() == grid.back());
      before = error;
      evaluations = outcome.evaluations;
    }
  }
}

CATCH_TEST_CASE("one trial step has the order of its pair", "[samplers][adaptive][order]") {
  struct Row {
    std::shared_ptr<const EmbeddedPair> pair;
    double high, low;  // of the local error: one above the order
    double h;
  };
  const Row rows[] = {{make_dormand_prince(false), 6, 5, 0.16},
                      {make_dormand_prince(true), 6, 5, 0.16},
                      {make_exponential_pair(), 4, 3, 0.05},
                      {make_dpm_pair(3), 4, 3, 0.05},
                      {make_dpm_pair(2), 3, 2, 0.05}};
  const Path& path = variance_preserving();
  const Grid grid = ends(path);
  const Level s = path.at(0.2);                          // between the modes, where the mixture is far from linear
  const Vector starts{-0.9, -0.5, -0.2, 0.1, 0.4, 0.8};  // the root mean square: one start may have a sign change
  for (const Row& row : rows) {
    Vector steps, highs, lows;
    for (const double h : {row.h, row.h / 2, row.h / 4}) {
      const Level t = path.at(0.2 + h);
      double high = 0.0, low = 0.0;
      for (const double x : starts) {
        HostMachine machine(Vector{x}, 1, denoise_mixture);
        Reg error;
        const double end = machine.run([&](Machine& m, Reg start) {
          const Trial trial = row.pair->step(m, grid, start, row.pair->slope(m, start, s), s, t);
          error = trial.error;
          return trial.x;
        })[0];
        high += std::pow(end - reference_mixture().flow(x, s, t), 2);
        low += std::pow(machine.error_norm(error, error, error, 1.0, 0.0), 2);
      }
      steps.push_back(1.0 / h);
      highs.push_back(std::sqrt(high));
      lows.push_back(std::sqrt(low));
    }
    CATCH_CAPTURE(row.high, row.h);
    CATCH_CHECK(order_slope(steps, highs) == Catch::Approx(row.high).margin(0.3));
    CATCH_CHECK(order_slope(steps, lows) == Catch::Approx(row.low).margin(0.3));
  }
}

CATCH_TEST_CASE("adaptive steps count the evaluations they say", "[samplers][adaptive]") {
  const Grid grid = ends(variance_exploding());
  const Outcome rk45 = run(make_solver("rk45"), grid, start_on(grid), denoise_mixture);
  CATCH_CHECK((rk45.evaluations - 1) % 6 == 0);  // the slope of a refused step is kept, that of a good one handed on
  CATCH_CHECK((rk45.evaluations - 1) / 6 >= static_cast<std::int64_t>(rk45.marks.size()));
  const Outcome res = run(make_solver("res_adaptive"), grid, start_on(grid), denoise_mixture);
  const std::int64_t good = static_cast<std::int64_t>(res.marks.size());
  CATCH_CHECK((res.evaluations - good) % 2 == 0);
  // One trial evaluates its start and two stages.
  const Outcome one = run(make_solver("res_adaptive", "rtol: 1, atol: 10, h_init: 10"),
                          make_grid(variance_exploding(), {{1, 2.0}, {1, 1.0}}), {0.3}, denoise_mixture);
  CATCH_CHECK(one.evaluations == 3);
}

CATCH_TEST_CASE("adaptive steps do not depend on the path", "[samplers][adaptive]") {
  for (const auto& row : kPairs) {
    const Grid reference = ends(variance_exploding());
    const Outcome expected = run(solver_of(row, "rtol: 1e-3"), reference, start_on(reference), denoise_mixture);
    for (const Path* path : standard_paths()) {
      const Grid grid = ends(*path);
      const Outcome outcome = run(solver_of(row, "rtol: 1e-3"), grid, start_on(grid), denoise_mixture);
      CATCH_CAPTURE(row.first, row.second, path->name());
      CATCH_CHECK(outcome.evaluations == expected.evaluations);
      for (std::size_t i = 0; i < kStart.size(); ++i)
        CATCH_CHECK(outcome.x[i] / grid.back().alpha == Catch::Approx(expected.x[i]).margin(1e-9));
    }
  }
}

CATCH_TEST_CASE("dpm_adaptive takes k-diffusion's steps", "[samplers][adaptive][peers]") {
  // tests/peers/golden_dpm_adaptive.py: k-diffusion 4601bf08 in double, sigma 80 to 0.002. Its nfe counts the first
  // evaluation of a refused step again; ours is accepted + (order - 1) trials. Rounding grows between the modes: 1e-9.
  struct Row {
    const char* options;
    int order;
    std::size_t accepted, refused;
    Vector end;
  };
  const Row rows[] = {
      {"order: 3",
       3,
       10,
       4,
       {-1.21587707634231, -0.673307256707237, -0.207274298349397, 0.785107104019178, 1.17934364779843}},
      {"order: 2",
       2,
       13,
       3,
       {-1.22668540363375, -0.6909945531593, -0.289600382044884, 0.763667553780567, 1.2217053748514}},
      {"order: 3, rtol: 1e-3, atol: 1e-4",
       3,
       21,
       3,
       {-1.19345737492021, -0.666808308929352, -0.129482412559821, 0.752652202355055, 1.19050575184687}},
      {"order: 2, rtol: 1e-2, atol: 1e-3, pcoeff: 0.2, icoeff: 0.6, dcoeff: 0.1, accept_safety: 0.9, h_init: 0.3",
       2,
       22,
       5,
       {-1.19921449457545, -0.671808531199193, -0.152957707361007, 0.754632237258252, 1.19597693525201}}};
  const Grid grid = ends(variance_exploding());
  for (const Row& row : rows) {
    CATCH_CAPTURE(row.options);
    const Outcome outcome =
        run(make_solver("dpm_adaptive", row.options), grid, start_on(grid), denoise_mixture, kStart.size());
    CATCH_CHECK(outcome.marks.size() == row.accepted);
    CATCH_CHECK(outcome.evaluations ==
                static_cast<std::int64_t>(row.accepted + (row.order - 1) * (row.accepted + row.refused)));
    for (std::size_t i = 0; i < row.end.size(); ++i)
      CATCH_CHECK(outcome.x[i] == Catch::Approx(row.end[i]).epsilon(1e-9));
  }
}

CATCH_TEST_CASE("steps that do not arrive are one line that says how far they came", "[samplers][adaptive]") {
  const Grid grid = ends(variance_exploding());
  for (const auto& row : kPairs) {
    CATCH_CAPTURE(row.first, row.second);
    const std::string message = message_of(
        [&] { run(solver_of(row, "rtol: 1e-6, atol: 1e-6, max_steps: 5"), grid, start_on(grid), denoise_mixture); });
    CATCH_CHECK(has_text(message, "sampler \"" + row.first + "\": max_steps 5 reached at lambda -"));
    CATCH_CHECK(has_text(message, "of 6.21461"));
    CATCH_CHECK(message.find('\n') == std::string::npos);
    std::int64_t asked = 0;
    const HostDenoiser counted = [&](std::span<const double> x, const Level& level) {
      ++asked;
      return denoise_mixture(x, level);
    };
    const auto limited = [&] {
      run(solver_of(row, "rtol: 1e-6, atol: 1e-6, max_evaluations: 20"), grid, start_on(grid), counted);
    };
    CATCH_CHECK_THROWS_AS(limited(), NumbersError);
    CATCH_CHECK(asked <= 20);
  }
  // A network gone wrong is not an endless loop.
  const HostDenoiser broken = [](std::span<const double> x, const Level&) { return Vector(x.size(), std::nan("")); };
  CATCH_CHECK_THROWS_AS(run(make_solver("rk45"), grid, start_on(grid), broken), NumbersError);
}

CATCH_TEST_CASE("the exponential pair walks a point mass in few steps where rk45 in rho is held back",
                "[samplers][adaptive]") {
  // With all data at 1 the estimate is constant: any step is exact, and only the limiter of the controller counts.
  const Grid grid = ends(variance_exploding());
  const HostDenoiser point = [](std::span<const double> x, const Level&) { return Vector(x.size(), 1.0); };
  const Outcome res = run(make_solver("res_adaptive"), grid, {81.0}, point);
  CATCH_CHECK(res.x[0] == Catch::Approx(1.0 + 0.002).epsilon(1e-12));
  CATCH_CHECK(res.marks.size() <= 8);
  // Off the point by a little: a fast relaxation that explicit steps in rho must resolve to stay stable.
  const HostDenoiser narrow = [](std::span<const double> x, const Level& level) {
    return Vector{Gaussian{1.0, 1e-8}.denoise(x[0], level)};
  };
  const std::int64_t exponential = run(make_solver("res_adaptive"), grid, {81.0}, narrow).evaluations;
  const std::int64_t explicit_rho = run(make_solver("rk45", "clock: rho"), grid, {81.0}, narrow).evaluations;
  CATCH_CHECK(2 * exponential < explicit_rho);
}

CATCH_TEST_CASE("noise in adaptive steps keeps a point mass", "[samplers][adaptive]") {
  // n = 20000: the deviation has a standard error of 1 / 200 of itself; five of them. The mean: 5 / 141.
  constexpr std::size_t kCount = 20000;
  const HostDenoiser point = [](std::span<const double> x, const Level&) { return Vector(x.size(), 0.0); };
  const Grid grid = ends(variance_preserving());
  const Outcome outcome = run(make_solver("dpm_adaptive", "eta: 1, rtol: 0.5"), grid,
                              normals(kCount, grid.front().sigma), point, kCount, path_noise(kCount));
  CATCH_CHECK(spread(outcome.x) == Catch::Approx(grid.back().sigma).epsilon(5.0 / 200));
}

CATCH_TEST_CASE("picard ends where ddim ends, in fewer calls one after the other", "[samplers][picard]") {
  for (const char* end : {"clean", "sigma_min"}) {
    const Grid grid = karras_grid(32, end);
    const Vector sequential = run_on_host(make_solver("ddim")(grid), start_on(grid), denoise_mixture);
    for (const char* window : {"1", "8", "64"})
      for (const double tolerance : {0.0, 1e-3, 1e-6}) {
        const Solver solver =
            make_solver("picard", std::string("window: ") + window + ", tolerance: " + std::to_string(tolerance));
        const Outcome outcome = run(solver, grid, start_on(grid), denoise_mixture, kStart.size());
        CATCH_CAPTURE(end, window, tolerance);
        double worst = 0.0;
        for (std::size_t i = 0; i < sequential.size(); ++i)
          worst = std::max(worst, std::abs(outcome.x[i] - sequential[i]));
        // Settled states are off by a few tolerances of levels up to sigma 80, which the flow then shrinks by s / 80.
        CATCH_CHECK(worst <= 20.0 * tolerance + 1e-12);
        CATCH_CHECK(outcome.evaluations <= solver.most_evaluations(grid));
        CATCH_CHECK(outcome.marks.size() == grid.steps());
        CATCH_CHECK(outcome.marks.back() == grid.back());
        if (std::string(window) == "1") CATCH_CHECK(outcome.sweeps == static_cast<std::int64_t>(grid.steps()));
        if (std::string(window) != "1" && tolerance == 1e-3) CATCH_CHECK(outcome.sweeps < 24);
      }
  }
  // From alpha = 0, as ddim.
  const Grid blind = make_grid(linear_path(), {{0, 1}, {0.3, 0.7}, {0.7, 0.3}, {1, 0}});
  const Outcome outcome = run(make_solver("picard", "tolerance: 0"), blind, {0.4, -1.3}, denoise_mixture);
  const Vector expected = run_on_host(make_solver("ddim")(blind), Vector{0.4, -1.3}, denoise_mixture);
  for (std::size_t i = 0; i < 2; ++i) CATCH_CHECK(outcome.x[i] == Catch::Approx(expected[i]).epsilon(1e-13));
}

CATCH_TEST_CASE("langevin corrections follow their own variance law and cost what they say", "[samplers][langevin]") {
  constexpr std::size_t kCount = 20000;
  const Grid grid = karras_grid(10, "clean");
  const HostDenoiser point = [](std::span<const double> x, const Level&) { return Vector(x.size(), 0.0); };
  // Without corrections it is ddpm, with the same noise.
  const Vector start = normals(kCount, 80.0);
  const HostNoise noise = path_noise(kCount);
  const Grid noisy = karras_grid(10);
  const Vector ddpm = run_on_host(make_solver("ddpm")(noisy), start, denoise_mixture, noise);
  CATCH_CHECK(run(make_solver("langevin_pc", "corrections: 0"), noisy, start, denoise_mixture, kCount, noise).x ==
              ddpm);
  const Solver solver = make_solver("langevin_pc", "corrections: 3, snr: 0.3");
  CATCH_CHECK(run(solver, grid, start, point, kCount, noise).evaluations == 10 + 3 * 9);
  CATCH_CHECK(solver.most_evaluations(grid) == 10 + 3 * 9);
  CATCH_CHECK(solver.most_evaluations(noisy) == 10 + 3 * 10);
  // On a point mass eps = x / sigma exactly: one correction takes variance v sigma^2 to
  // (1 - 2 k)^2 v + 4 k with k = snr^2 / v (the ratio of norms), times sigma^2; n = 20000: five standard errors.
  const Grid one = make_grid(variance_exploding(), {{1, 2.0}, {1, 1.0}});
  double v = 1.0;
  for (int i = 0; i < 3; ++i) {
    const double k = 0.09 / v;
    v = (1 - 2 * k) * (1 - 2 * k) * v + 4 * k;
  }
  const Outcome outcome = run(solver, one, normals(kCount, 2.0), point, kCount, noise);
  CATCH_CHECK(spread(outcome.x) == Catch::Approx(std::sqrt(v)).epsilon(5.0 / 200));
}

CATCH_TEST_CASE("adaptive samplers have no plan and no budget without a limit", "[samplers][adaptive]") {
  const Grid grid = karras_grid(8);
  const GridFactory factory = [](int steps) { return karras_grid(steps); };
  const Solver rk45 = make_solver("rk45");
  CATCH_CHECK(rk45.is_adaptive());
  CATCH_CHECK(!make_solver("ddim").is_adaptive());
  CATCH_CHECK(has_text(message_of([&] { rk45(grid); }), "sampler \"rk45\": decides its steps"));
  CATCH_CHECK(has_text(message_of([&] { steps_within(rk45, factory, 50); }), "Set its max_evaluations"));
  CATCH_CHECK(steps_within(make_solver("rk45", "max_evaluations: 40"), factory, 50) == 50);
  CATCH_CHECK(!steps_within(make_solver("rk45", "max_evaluations: 40"), factory, 30).has_value());
  CATCH_CHECK(steps_within(make_solver("langevin_pc"), factory, 21) == 10);
  for (const char* name : {"rk45", "res_adaptive", "dpm_adaptive"}) {
    const Grid blind = make_grid(linear_path(), {{0, 1}, {1, 0}});
    CATCH_CHECK(has_text(message_of([&] { run(make_solver(name), blind, {1.0}, denoise_mixture); }),
                         "cannot start from alpha = 0"));
  }
}
