// Where diffusers' own schedulers end, written by tests/peers/golden_samplers.py, against their imported configs.
#include "tests/catch.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "samplers/scheduler_config.h"
#include "tests/mixture.h"
#include "tests/plans.h"

using namespace thaw;
using namespace thaw::testing;

namespace {

using Vector = std::vector<double>;
constexpr std::size_t kCount = 4;

nlohmann::json golden(const std::string& name) {
  std::ifstream file(std::string(THAW_SOURCE_DIR) + "/tests/golden/" + name + ".json");
  return nlohmann::json::parse(file);
}

/// Numbers of variance 1 in (-sqrt 3, sqrt 3), as golden_schedulers.py makes them: splitmix64.
Vector peer_noise(std::uint64_t seed, std::uint64_t stream) {
  Vector result;
  for (std::uint64_t i = 0; i < kCount; ++i) {
    std::uint64_t z = seed * 0x9E3779B97F4A7C15U + stream * 0xBF58476D1CE4E5B9U + i * 0x94D049BB133111EBU;
    z += 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    z ^= z >> 31;
    result.push_back(std::sqrt(12.0) * (static_cast<double>(z >> 11) * 0x1p-53 - 0.5));
  }
  return result;
}

/// torch.quantile with linear interpolation.
double quantile(Vector values, double share) {
  std::sort(values.begin(), values.end());
  const double at = share * static_cast<double>(values.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (at - static_cast<double>(low)) * (values[high] - values[low]);
}

Vector thresholded(Vector x0, const ImportedThresholding& rule) {
  using Kind = ImportedThresholding::Kind;
  if (rule.kind == Kind::kNone) return x0;
  double bound = rule.range, scale = 1.0;
  if (rule.kind == Kind::kDynamic) {
    Vector sizes;
    for (const double value : x0) sizes.push_back(std::abs(value));
    scale = bound = std::clamp(quantile(sizes, rule.quantile), 1.0, rule.maximum);
  }
  for (double& value : x0) value = std::clamp(value, -bound, bound) / scale;
  return x0;
}

/// Runs a plan with thresholding, which run_on_host does not know; draws are named by step and by order within it.
class PeerRun {
 public:
  PeerRun(const ImportedScheduler& scheduler, int steps, std::uint64_t seed)
      : PeerRun(scheduler.plan(steps), scheduler.start_scale(steps), scheduler.thresholding, seed) {}
  PeerRun(Plan plan, double start_scale, const ImportedThresholding& thresholding, std::uint64_t seed)
      : plan_(std::move(plan)), thresholding_(thresholding), seed_(seed), registers_(plan_.num_registers) {
    Vector start = peer_noise(seed, 0);
    for (double& value : start) value *= start_scale;
    registers_[plan_.input.id] = start;
    for (const Instruction& instruction : plan_.program) std::visit([this](const auto& one) { run(one); }, instruction);
  }

  const std::vector<Vector>& states() const { return states_; }
  const Level& start() const { return plan_.start; }

 private:
  void run(const Evaluate& e) {
    const Vector raw = denoise_mixture(registers_[e.src.id], e.level);
    for (const Output& output : e.outputs)
      registers_[output.dst.id] = output.kind == OutputKind::kRaw ? raw : thresholded(raw, thresholding_);
  }
  void run(const Combine& c) {
    Vector sum(kCount, 0.0);
    for (const Term& term : c.terms)
      for (std::size_t i = 0; i < kCount; ++i) sum[i] += term.weight * registers_[term.reg.id][i];
    for (const NoiseTerm& noise : c.noise) {
      const Vector& z = drawn(noise.draw);
      for (std::size_t i = 0; i < kCount; ++i) sum[i] += noise.weight * z[i];
    }
    registers_[c.dst.id] = sum;
  }
  void run(const Mark& mark) {
    if (mark.kind == MarkKind::kCorrected) {
      // A corrector at the end rewrites the last state.
      if (!states_.empty() && &mark == last_mark()) states_.back() = registers_[mark.reg.id];
      return;
    }
    states_.push_back(registers_[mark.reg.id]);
    within_ = 0;
  }
  const Mark* last_mark() const { return std::get_if<Mark>(&plan_.program.back()); }
  const Vector& drawn(const Draw& draw) {
    for (const auto& [known, values] : draws_)
      if (known == draw) return values;
    draws_.emplace_back(draw, peer_noise(seed_, 1 + 2 * states_.size() + within_++));
    return draws_.back().second;
  }

  Plan plan_;
  ImportedThresholding thresholding_;
  std::uint64_t seed_;
  std::vector<Vector> registers_, states_;
  std::vector<std::pair<Draw, Vector>> draws_;
  std::uint64_t within_ = 0;
};

double largest(const Vector& x) {
  double result = 0.0;
  for (const double value : x) result = std::max(result, std::abs(value));
  return result;
}

double relative_gap(const Vector& a, const Vector& b) {
  double result = 0.0;
  for (std::size_t i = 0; i < b.size(); ++i) result = std::max(result, std::abs(a[i] - b[i]));
  return result / largest(b);
}

SchedulerCalls calls_of(const nlohmann::json& one) {
  SchedulerCalls calls;
  for (const char* section : {"step", "set"})
    if (one.contains(section))
      for (const auto& [key, value] : one[section].items()) calls.emplace(key, value.get<double>());
  return calls;
}

/// 1e-12, and where the peers form x0 = (x - sigma eps) / alpha from a state of size rho its rounding, 4e-15 rho: 8e-11
/// at the first level of squaredcos tables, rho = 2e4.
double bound_of(const ImportedScheduler& scheduler, const Level& start) {
  if (scheduler.class_name == "LTXEulerAncestralRFScheduler") return 1e-10;  // adds 1e-12 to 1 - sigma
  if (scheduler.class_name == "SCMScheduler") return 1e-4;                   // its first alpha is -3.7e-6, ours 0
  return 1e-12 + (start.alpha > 0.0 ? 4e-15 * start.rho() : 0.0);
}

/// Times of the grid's levels that the network is asked about, noisiest first and each once.
Vector told_times(const ImportedScheduler& scheduler, int steps) {
  const Grid grid = scheduler.grid(steps);
  std::set<double, std::greater<>> times;
  for (const Instruction& instruction : scheduler.solver(grid).program)
    if (const auto* e = std::get_if<Evaluate>(&instruction))
      for (std::size_t i = 0; i < grid.size(); ++i)
        if (grid[i] == e->level) times.insert(grid.times[i]);
  return {times.begin(), times.end()};
}

void compare_one(const nlohmann::json& one) {
  CATCH_CAPTURE(one["config"].dump(), one["steps"].get<int>(), calls_of(one));
  const auto scheduler =
      import_scheduler(one["config"].dump(), "scheduler_config.json", all_schedules(), all_samplers(), calls_of(one));
  const PeerRun run(scheduler, one["steps"].get<int>(), one["seed"].get<std::uint64_t>());
  CATCH_CHECK(relative_gap(run.states().back(), one["double"].get<Vector>()) < bound_of(scheduler, run.start()));
  // Some of the peer's own runs in single and double precision differ by more than 1e-5; the file says by how much.
  CATCH_CHECK(relative_gap(run.states().back(), one["shipped"].get<Vector>()) <
              std::max({1e-5, 1.1 * one.value("shipped_gap", 0.0), bound_of(scheduler, run.start())}));
}

void compare(const std::string& name, std::size_t expected) {
  const nlohmann::json file = golden("schedulers_" + name);
  CATCH_REQUIRE(file["cases"].size() == expected);
  for (const nlohmann::json& one : file["cases"]) try {
      compare_one(one);
    } catch (const Error& error) {
      CATCH_FAIL_CHECK(one["config"].dump() << ", " << one["steps"] << " steps: " << error.what());
    }
}

}  // namespace

CATCH_TEST_CASE("imported table schedulers end where diffusers ends", "[samplers][peers]") {
  compare("tables", 195);
}

CATCH_TEST_CASE("imported sigma schedulers end where diffusers ends", "[samplers][peers]") {
  compare("sigmas", 214);
}

CATCH_TEST_CASE("imported DPM-Solvers end where diffusers ends", "[samplers][peers]") {
  compare("multistep", 145);
}

CATCH_TEST_CASE("imported DEIS, UniPC and SA-Solver end where diffusers ends", "[samplers][peers]") {
  compare("predictors", 140);
}

CATCH_TEST_CASE("imported flow schedulers end where diffusers ends", "[samplers][peers]") {
  compare("flow", 60);
}

CATCH_TEST_CASE("imported schedulers tell the network what diffusers tells it", "[samplers][peers]") {
  const nlohmann::json file = golden("timesteps");
  CATCH_REQUIRE(file["cases"].size() == 102);
  for (const nlohmann::json& one : file["cases"]) {
    CATCH_CAPTURE(one["config"].dump(), one["steps"].get<int>());
    const auto scheduler =
        import_scheduler(one["config"].dump(), "scheduler_config.json", all_schedules(), all_samplers(), calls_of(one));
    const Vector told = told_times(scheduler, one["steps"].get<int>());
    auto expected = one["times"].get<Vector>();
    // Of a last step of no length, after the same sigma twice, most of ours do not ask: it changes nothing.
    const bool ends_twice = scheduler.grid(one["steps"].get<int>()).steps() + 1 == one["steps"].get<std::size_t>();
    const bool inverts = has_text(scheduler.class_name, "Inverse");
    if (ends_twice && told.size() < expected.size()) expected.erase(inverts ? expected.begin() : expected.end() - 1);
    CATCH_CAPTURE(told, expected);
    CATCH_REQUIRE(told.size() == expected.size());
    // Some of the peer's own steps stay in single precision.
    for (std::size_t i = 0; i < told.size(); ++i)
      CATCH_CHECK(told[i] == Catch::Approx(expected[i]).epsilon(2e-6).margin(2e-6));
  }
}

CATCH_TEST_CASE("samplers end where k-diffusion's published formulas do", "[samplers][peers]") {
  const nlohmann::json file = golden("kdiffusion");
  CATCH_REQUIRE(file["cases"].size() == 33);
  for (const nlohmann::json& one : file["cases"]) {
    const auto sampler = one["sampler"].get<std::string>();
    const auto options = one["options"].get<std::string>();
    const int steps = one["steps"].get<int>();
    CATCH_CAPTURE(sampler, options, steps);
    // dpm_fast ends at the last noisy level.
    const Grid grid = karras_grid(steps, sampler == "dpm_fast" ? "sigma_min" : "clean");
    const PeerRun run(make_solver(sampler, options)(grid), 80.0, {}, file["seed"].get<std::uint64_t>());
    // A factor 1 - e^-h of 2e4 between the first sigma and the last costs dpm_fast three digits of a double.
    CATCH_CHECK(relative_gap(run.states().back(), one["end"].get<Vector>()) < (sampler == "dpm_fast" ? 1e-11 : 1e-12));
  }
}
