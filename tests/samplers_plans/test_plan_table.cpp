// The table of a plan does what the plan does, to the bit, with few bodies.
#include "tests/catch.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "core/math/brownian.h"
#include "core/math/plan_builder.h"
#include "core/math/plan_table.h"
#include "tests/plans.h"

using namespace thaw;
using namespace thaw::testing;

namespace {

constexpr std::size_t kElements = 12;

bool makes_plans(const SamplerRegistry::EntryType& entry) {
  return !entry.info.has_trait("adaptive");
}

// Neither linear nor the same for two outputs, levels or targets.
template <class T>
void answer(const TableQuery<T>& query) {
  const Level& level = query.level;
  const T pull = static_cast<T>(level.alpha / (level.alpha * level.alpha + level.sigma * level.sigma));
  const T bend = query.target ? static_cast<T>(0.3 + 0.1 * query.target->sigma) : T(0.3);
  for (const TableAnswer<T>& part : query.answers)
    for (std::size_t i = 0; i < kElements; ++i) {
      const T x = pull * query.x[i];
      const T data = T(0.6) * std::tanh(T(3) * x + bend) + T(0.4) * std::tanh(T(0.5) * x - T(1));
      part.values[i] = part.kind == OutputKind::kVariance ? data : data + T(0.125) * static_cast<T>(part.kind) * x;
    }
}

void fill_draw(const Draw& draw, std::span<float> values) {
  if (draw.is_path)
    fill_path_increment(values, {.seed = 7, .purpose = Purpose::kPath, .sample = 3}, draw.from, draw.to);
  else
    fill_normal(values, {.seed = 7, .purpose = Purpose::kFresh, .sample = draw.stream, .draw = draw.ordinal});
}

template <class T>
struct Trace {
  std::vector<T> output{};
  std::vector<T> marked{};    // every state that was marked, in order
  std::vector<Mark> marks{};  // register ids left aside

  // Moves the state, as a hook may: later sums must see it.
  void hook(const Mark& mark, std::span<T> x) {
    for (T& value : x) value += T(1e-3) * std::tanh(value);
    marked.insert(marked.end(), x.begin(), x.end());
    marks.push_back(mark);
  }
};

// One register a value, sums as core/kernels/weighted_sum.h makes them: a product, then fused multiply-adds in order.
template <class T>
class PlanRun {
 public:
  Trace<T> run(const Plan& plan, const std::vector<T>& x) {
    registers_[plan.input.id] = x;
    for (const Instruction& instruction : plan.program) std::visit([this](const auto& i) { execute(i); }, instruction);
    trace_.output = registers_.at(plan.output.id);
    return std::move(trace_);
  }

 private:
  void execute(const Evaluate& e) {
    std::vector<TableAnswer<T>> answers;
    for (const Output& output : e.outputs) {
      registers_[output.dst.id].resize(kElements);
      answers.push_back({output.kind, registers_[output.dst.id]});
    }
    answer<T>({.x = registers_.at(e.src.id), .level = e.level, .target = e.target, .answers = answers});
  }

  void execute(const Combine& c) {
    std::vector<std::pair<std::vector<T>, std::vector<T>>> products;  // weight and value, by element
    for (const Term& term : c.terms)
      products.push_back({std::vector<T>(kElements, static_cast<T>(term.weight)), registers_.at(term.reg.id)});
    for (const NoiseTerm& term : c.noise) {
      std::vector<float> drawn(kElements);
      fill_draw(term.draw, drawn);
      std::vector<T> weights(kElements, static_cast<T>(term.weight));
      if (!(term.scale == kNoReg))
        for (std::size_t i = 0; i < kElements; ++i)
          weights[i] *= std::exp((registers_.at(term.scale.id)[i] + T(1)) *
                                     static_cast<T>(0.25 * (term.log_high - term.log_low)) +
                                 static_cast<T>(0.5 * term.log_low));
      products.push_back({weights, {drawn.begin(), drawn.end()}});
    }
    std::vector<T> sum(kElements, T(0));
    for (std::size_t k = 0; k < products.size(); ++k)
      for (std::size_t i = 0; i < kElements; ++i) {
        const auto& [weight, value] = products[k];
        sum[i] = k == 0 ? weight[i] * value[i] : std::fma(weight[i], value[i], sum[i]);
      }
    registers_[c.dst.id] = sum;
  }

  void execute(const Mark& m) { trace_.hook(m, registers_.at(m.reg.id)); }

  std::map<std::uint32_t, std::vector<T>> registers_;
  Trace<T> trace_;
};

template <class T>
Trace<T> run_as_table(const PlanTable& table, const std::vector<T>& x) {
  Trace<T> trace;
  trace.output = run_table<T>(table, x, answer<T>, fill_draw,
                              [&](const Mark& mark, std::span<T> state) { trace.hook(mark, state); });
  return trace;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

bool same_marks(const std::vector<Mark>& a, const std::vector<Mark>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Mark& m, const Mark& n) {
    return m.kind == n.kind && m.step == n.step && m.level == n.level;
  });
}

template <class T>
std::vector<T> start_of(const Plan& plan) {
  std::vector<float> drawn(kElements);
  fill_normal(drawn, {.seed = 7, .purpose = Purpose::kStart, .sample = 3});
  std::vector<T> x;
  for (const float z : drawn) x.push_back(static_cast<T>(std::hypot(plan.start.alpha, plan.start.sigma) * z));
  return x;
}

template <class T>
void check_equal(const Plan& plan, const std::vector<T>& x) {
  const Trace<T> by_plan = PlanRun<T>().run(plan, x);
  const Trace<T> by_table = run_as_table(make_table(plan), x);
  CATCH_CHECK(same_bits(by_plan.output, by_table.output));
  CATCH_CHECK(same_bits(by_plan.marked, by_table.marked));
  CATCH_CHECK(same_marks(by_plan.marks, by_table.marks));
  CATCH_CHECK(!by_plan.marks.empty());
}

struct Case {
  std::string name;
  bool is_vp, is_clean;
};

Grid grid_of(const Case& one, int steps) {
  const std::string final = one.is_clean ? "clean" : "sigma_min";
  if (!one.is_vp) return karras_grid(steps, final);
  return make_grid_on(*make_schedule("linear"), "trailing", steps, "final: " + final);
}

// Grids that a sampler's traits allow.
std::vector<Case> cases_of(const SamplerRegistry::EntryType& entry) {
  std::vector<Case> cases;
  for (const bool is_vp : {false, true})
    for (const bool is_clean : {false, true}) {
      if (is_clean && entry.info.has_trait("inverts")) continue;
      if (!is_vp && entry.info.has_trait("needs_timesteps")) continue;
      cases.push_back({entry.info.name, is_vp, is_clean});
    }
  return cases;
}

// Steps that ask the network less or more often than the others need a body of their own: the one into the clean level
// without slopes at its end; runge-kutta or a repeated question to begin with; orders that fall towards the end.
int expected_bodies(const Case& one) {
  static const std::set<std::string> kClean{"dpm2",      "dpm2_ancestral", "dpm_2s",   "dpm_3s", "dpmpp_2s",
                                            "dpmpp_3s",  "dpmpp_sde",      "flow_rk4", "heun",   "dpmpp_2s_ancestral",
                                            "flow_heun", "res_2s",         "res_3s",   "rk4",    "restart"};
  if (one.name == "dpm_fast" || one.name == "heunpp2") return 3;
  if (one.name == "plms" || one.name == "pndm") return 2;
  return one.is_clean && kClean.contains(one.name) ? 2 : 1;
}

// Every row fits its body, writes no zeros and reads nothing that was sunk.
void check_rows(const PlanTable& table) {
  for (const TableRow& row : table.rows) {
    std::size_t slots = 0, weights = 0, draws = 0, levels = 0;
    const auto expect = [&](bool is_read, std::size_t count) {
      for (std::size_t k = 0; k < count; ++k, ++slots) {
        const std::uint32_t slot = row.slots.at(slots);
        CATCH_CHECK(slot < table.num_slots);
        CATCH_CHECK(slot != (is_read ? table.sink : table.zeros));
      }
    };
    for (const auto& shape : table.bodies.at(row.body).program) {
      if (const auto* e = std::get_if<EvaluationShape>(&shape)) {
        expect(true, 1);
        expect(false, e->outputs.size());
        levels += e->has_target ? 2 : 1;
      } else {
        const auto& sum = std::get<SumShape>(shape);
        expect(false, 1);
        expect(true, sum.terms);
        weights += sum.terms;
        draws += sum.draws;
      }
    }
    CATCH_CHECK(row.slots.size() == slots);
    CATCH_CHECK(row.weights.size() == weights);
    CATCH_CHECK(row.noise.size() == draws);
    CATCH_CHECK(row.levels.size() == levels);
  }
}

}  // namespace

CATCH_TEST_CASE("the table of every fixed-grid sampler is its plan to the bit, in float and in double",
                "[samplers][table]") {
  int samplers = 0, plans = 0;
  for (const auto& entry : all_samplers().entries()) {
    if (!makes_plans(entry)) continue;
    ++samplers;
    const Solver solver = make_solver(entry.info.name);
    for (const Case& one : cases_of(entry))
      for (int steps = 3; steps <= 12; ++steps) {
        CATCH_CAPTURE(one.name, one.is_vp, one.is_clean, steps);
        const Plan plan = solver(grid_of(one, steps));
        check_equal<float>(plan, start_of<float>(plan));
        check_equal<double>(plan, start_of<double>(plan));
        ++plans;
      }
  }
  CATCH_CHECK(samplers == 66);
  CATCH_CHECK(plans == 10 * (4 * 66 - 4 * 2 - 2));  // four invert, one needs timesteps
}

CATCH_TEST_CASE("the steps of a sampler are one body, or as many as they differ in evaluations", "[samplers][table]") {
  std::map<std::pair<bool, int>, int> samplers;  // on the schedule with timesteps, by (ends clean, bodies)
  for (const auto& entry : all_samplers().entries()) {
    if (!makes_plans(entry)) continue;
    for (const Case& one : cases_of(entry)) {
      CATCH_CAPTURE(one.name, one.is_vp, one.is_clean);
      const Solver solver = make_solver(one.name);
      for (int steps = 3; steps <= 12; ++steps) {
        const PlanTable table = make_table(solver(grid_of(one, steps)));
        check_rows(table);
        CATCH_CHECK(static_cast<int>(table.bodies.size()) <= expected_bodies(one));
        if (steps < 12) continue;
        CATCH_CHECK(static_cast<int>(table.bodies.size()) == expected_bodies(one));
        if (one.is_vp) ++samplers[{one.is_clean, static_cast<int>(table.bodies.size())}];
      }
    }
  }
  const std::map<std::pair<bool, int>, int> expected{{{false, 1}, 62}, {{false, 2}, 2}, {{false, 3}, 2},
                                                     {{true, 1}, 43},  {{true, 2}, 17}, {{true, 3}, 2}};
  CATCH_CHECK(samplers == expected);
}

CATCH_TEST_CASE("options that draw, correct or ask for more are rows of the same few bodies", "[samplers][table]") {
  struct Options {
    const char *name, *text;
    std::size_t bodies;
  };
  for (const Options& one :
       {Options{"euler", "s_churn: 20", 1}, Options{"heun", "s_churn: 20", 2},
        Options{"ddim", "eta: 0.5, use_clipped_model_output: false", 1}, Options{"ddpm", "variance: learned", 1},
        Options{"ddim_cfgpp", "eta: 1", 1}, Options{"unipc", "order: 3, disable_corrector: [0, 3]", 1},
        Options{"unipc", "prediction: noise", 1}, Options{"restart", "repetitions: 3", 2},
        Options{"dpmpp_singlestep", "order: 3, tau2: 1", 1}, Options{"lms", "order: 2", 1}}) {
    CATCH_CAPTURE(one.name, one.text);
    const Plan plan = make_solver(one.name, one.text)(karras_grid(12, "clean"));
    const PlanTable table = make_table(plan);
    check_rows(table);
    CATCH_CHECK(table.bodies.size() == one.bodies);
    check_equal<float>(plan, start_of<float>(plan));
    check_equal<double>(plan, start_of<double>(plan));
  }
}

CATCH_TEST_CASE("every output, target and mark has its place in a table", "[samplers][table]") {
  using enum OutputKind;
  const Grid grid = karras_grid(4);
  Builder b(grid);
  Reg x = b.input();
  for (std::size_t i = 0; i < 4; ++i) {
    const Level &s = grid[i], &t = grid[i + 1];
    const auto out = i % 2 == 0 ? b.evaluate(x, s, {kVelocity, kVariance, kData})
                                : b.evaluate(x, s, {kRaw, kUnguided, kData, kVelocity});
    std::vector<NoiseTerm> noise{b.noise(s, t, 0.25), b.fresh(kHookStream, 2, 0.5)};
    if (i == 0) noise[1].scale = out[1], noise[1].log_low = -3.0, noise[1].log_high = 0.5;
    const Reg stage = b.combine(0.5 * x - 0.25 * Expr(out[0]), Role::kStage);
    b.mark(stage, t, MarkKind::kCorrected);
    if (i != 2) x = b.combine(0.3 * x + 0.1 * Expr(out[0]) + 0.5 * Expr(out.back()) + 0.1 * Expr(stage), noise);
    b.mark(x, t);
    x = b.combine(i == 1 ? Expr() : 1.5 * Expr(x), b.fresh(kChurnStream, static_cast<std::uint32_t>(i), 0.5),
                  Role::kNoiseUp);
    b.mark(x, s, MarkKind::kNoised);
    x = b.combine(0.5 * x + 0.5 * Expr(b.evaluate(x, s, t)));
    b.mark(x, t);
  }
  const Plan plan = b.finish(x);
  const PlanTable table = make_table(plan);
  check_rows(table);
  CATCH_CHECK(table.rows.size() == 8);
  CATCH_REQUIRE(table.bodies.size() == 2);
  CATCH_CHECK(std::get<EvaluationShape>(table.bodies[0].program.at(0)).outputs.size() == 5);
  CATCH_CHECK(gap_traffic(table)[0][1] == Traffic{4, 1});  // x, velocity, variance, data; the stage stays inside
  check_equal<float>(plan, start_of<float>(plan));
  check_equal<double>(plan, start_of<double>(plan));
}

CATCH_TEST_CASE("what is absent changes no -0, no infinity and no NaN", "[samplers][table]") {
  const Grid grid = karras_grid(3);
  Builder b(grid);
  const Reg x = b.combine(Expr(b.input()));
  b.mark(x, grid[1]);
  const Reg empty = b.combine(Expr());
  b.mark(empty, grid[1], MarkKind::kCorrected);  // +0, not the -0 that nothing adds up to
  const auto out = b.evaluate(x, grid[1], {OutputKind::kData, OutputKind::kVariance});
  NoiseTerm noise = b.noise(grid[1], grid[2], 0.5);
  noise.scale = out[1];
  Reg y = b.combine(Expr(x) + Expr(out[0]) + Expr(empty), noise);
  b.mark(y, grid[2]);
  b.evaluate(x, grid[2]);
  y = b.combine(Expr(x));  // in the body of the step before: two terms and a draw are absent
  b.mark(y, grid[3]);
  const Plan plan = b.finish(y);
  const PlanTable table = make_table(plan);
  const auto check = [&]<class T>(T) {
    std::vector<T> start(kElements, T(-0.0));
    start[1] = std::numeric_limits<T>::infinity();
    start[2] = -std::numeric_limits<T>::infinity();
    start[3] = std::numeric_limits<T>::quiet_NaN();
    start[4] = std::numeric_limits<T>::denorm_min();
    std::vector<T> marked;
    const auto output = run_table<T>(table, start, answer<T>, fill_draw, [&](const Mark& mark, std::span<T> state) {
      if (mark.step != 1) marked.insert(marked.end(), state.begin(), state.end());
    });
    CATCH_CHECK(same_bits(output, start));
    std::vector<T> twice = start;
    twice.insert(twice.end(), start.begin(), start.end());
    CATCH_CHECK(same_bits(marked, twice));
    check_equal<T>(plan, start);
  };
  check(0.0F);
  check(0.0);
}

CATCH_TEST_CASE("a gap reads and writes the states that the method needs, each once", "[samplers][table]") {
  struct Method {
    const char *name, *options;
    std::vector<Traffic> gaps;
  };
  // Counted by hand from the methods' formulas. The noise form asks for x again at each stage: eps = (x - alpha D) /
  // sigma.
  const std::vector<Method> methods{
      {"ddim", "eta: 1", {{2, 1}}},
      {"lcm", "", {{1, 1}}},
      {"ddpm", "variance: learned", {{3, 1}}},
      {"dpmpp_2s", "", {{2, 1}, {2, 1}}},
      {"res_2s", "", {{2, 1}, {3, 1}}},
      {"heun", "", {{2, 1}, {4, 1}}},
      {"dpm2", "", {{2, 1}, {3, 1}}},
      {"dpmpp_3s", "", {{2, 1}, {3, 1}, {3, 1}}},
      {"dpm_3s", "", {{2, 1}, {4, 1}, {4, 1}}},
      {"res_3s", "", {{2, 1}, {3, 1}, {4, 1}}},
      {"rk4", "", {{2, 1}, {3, 1}, {3, 1}, {8, 1}}},
      {"edict", "", {{3, 1}, {3, 2}}},
      {"dpmpp_2m", "", {{3, 1}}},
      {"dpmpp_2m_sde", "", {{3, 1}}},
      {"er_sde", "order: 2", {{3, 1}}},
      {"dpmpp_3m", "", {{4, 1}}},
      {"er_sde", "order: 3", {{4, 1}}},
      {"exponential_ab", "", {{5, 1}}},
      {"deis", "order: 2", {{3, 2}}},
      {"dpm_2m", "", {{3, 2}}},
      {"gradient_estimation", "", {{3, 2}}},
      {"deis", "order: 3", {{4, 2}}},
      {"lms", "", {{5, 2}}},
      {"ipndm", "", {{5, 2}}},
      {"plms", "", {{5, 2}}},
      {"unipc", "order: 1", {{3, 2}}},
      {"unipc", "order: 2", {{4, 2}}},
      {"unipc", "order: 3", {{5, 2}}},
      {"sa_solver", "predictor_order: 2, corrector_order: 2", {{3, 2}}},
      {"sa_solver", "predictor_order: 3, corrector_order: 3", {{4, 2}}},
      {"sa_solver", "predictor_order: 3, corrector_order: 4", {{5, 2}}},
  };
  for (const Method& method : methods) {
    CATCH_CAPTURE(method.name, method.options);
    const PlanTable table = make_table(make_solver(method.name, method.options)(karras_grid(12)));
    const auto traffic = gap_traffic(table);
    CATCH_REQUIRE(traffic.size() == 12);
    std::vector<Traffic> gaps = traffic[6];  // past the warm-up
    CATCH_CHECK(gaps.front() == Traffic{});  // nothing before the first evaluation
    gaps.erase(gaps.begin());
    CATCH_CHECK(gaps == method.gaps);
  }
}
