#include <array>
#include <cmath>

#include "samplers/adaptive.h"

namespace thaw {
namespace {

constexpr int kStages = 7;

// Dormand and Prince 1980, RK5(4)7M. The last row is the fifth-order solution, whose slope is the next step's first.
constexpr std::array<double, kStages> kNodes{0.0, 1.0 / 5, 3.0 / 10, 4.0 / 5, 8.0 / 9, 1.0, 1.0};
constexpr double kWeights[kStages][kStages - 1] = {
    {},
    {1.0 / 5},
    {3.0 / 40, 9.0 / 40},
    {44.0 / 45, -56.0 / 15, 32.0 / 9},
    {19372.0 / 6561, -25360.0 / 2187, 64448.0 / 6561, -212.0 / 729},
    {9017.0 / 3168, -355.0 / 33, 46732.0 / 5247, 49.0 / 176, -5103.0 / 18656},
    {35.0 / 384, 0.0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84}};
// Fifth order minus fourth.
constexpr std::array<double, kStages> kError{71.0 / 57600,      0.0,        -71.0 / 16695, 71.0 / 1920,
                                             -17253.0 / 339200, 22.0 / 525, -1.0 / 40};

// y = x / alpha: dy / dlambda = D - y, dy / drho = (y - D) / rho.
class DormandPrince : public EmbeddedPair {
 public:
  explicit DormandPrince(bool is_in_rho) : is_in_rho_(is_in_rho) {}

  int evaluations() const override { return kStages - 1; }

  Reg slope(Machine& machine, Reg x, const Level& s) const override {
    const Reg d = machine.evaluate(x, s);
    const Expr rate = Expr(d) - Expr(x) / s.alpha;
    const Reg result = machine.combine(is_in_rho_ ? rate * (-1.0 / s.rho()) : rate);
    machine.release(d);
    return result;
  }

  Trial step(Machine& machine, const Grid& grid, Reg x, Reg slope_s, const Level& s, const Level& t) const override {
    const double h = clock(t) - clock(s);
    std::array<Reg, kStages> slopes{slope_s};
    Reg state = x;
    for (std::size_t k = 1; k < kStages; ++k) {
      const Level at = kNodes[k] == 1.0 ? t : level_of(grid, clock(s) + kNodes[k] * h);
      Expr sum = (at.alpha / s.alpha) * Expr(x);
      for (std::size_t j = 0; j < k; ++j)
        if (kWeights[k][j] != 0.0) sum += (at.alpha * h * kWeights[k][j]) * Expr(slopes[j]);
      state = machine.combine(sum);
      slopes[k] = slope(machine, state, at);
      if (k + 1 < kStages) machine.release(state);
    }
    Expr error;
    for (std::size_t k = 0; k < kStages; ++k)
      if (kError[k] != 0.0) error += (t.alpha * h * kError[k]) * Expr(slopes[k]);
    return {.x = state, .error = machine.combine(error), .scale = state, .next = slopes[kStages - 1]};
  }

 private:
  double clock(const Level& level) const { return is_in_rho_ ? level.rho() : level.lambda(); }
  Level level_of(const Grid& grid, double clock) const { return grid.at_lambda(is_in_rho_ ? -std::log(clock) : clock); }
  bool is_in_rho_;
};

}  // namespace

std::shared_ptr<const EmbeddedPair> make_dormand_prince(bool is_in_rho) {
  return std::make_shared<DormandPrince>(is_in_rho);
}

void register_sampler_rk45(SamplerRegistry& registry) {
  std::vector<Option> options = adaptive_options(1e-3, 1e-3);
  options.push_back({.name = "clock",
                     .fallback = std::string("lambda"),
                     .help = "variable of integration; rho = sigma / alpha is stiff near clean",
                     .choices = {"lambda", "rho"}});
  registry.add(
      {{.name = "rk45",
        .summary = "Dormand-Prince 5(4) on the probability-flow equation with steps chosen by their error; of "
                   "the grid only the ends count",
        .source = "Dormand and Prince 1980; Song et al. 2021 (score SDE), section 4.3; control: Hairer and "
                  "Wanner 1996, IV.2 (PI, 0.7 and 0.4)",
        .options = options,
        .traits = {"adaptive", "refuses_alpha_zero", "evaluations_per_step=6", "extra_evaluations=1", "order=5"}},
       [](const Settings& settings) -> Solver {
         return make_adaptive(make_dormand_prince(settings.text("clock") == "rho"),
                              read_adaptive(settings, "rk45", {.p = 0.4, .i = 0.3, .order = 5.0}));
       }});
}

}  // namespace thaw
