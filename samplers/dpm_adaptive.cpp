#include <cmath>

#include "core/math/phi.h"
#include "samplers/adaptive.h"

namespace thaw {
namespace {

// DPM-Solver-12 and -23: Lu et al. 2022 (DPM-Solver), appendix C, in the noise form
// F(L, u) = (alpha_L / alpha_s) x - sigma_L (e^u - 1) eps.
class DpmPair : public EmbeddedPair {
 public:
  explicit DpmPair(int order) : order_(order) {}

  int evaluations() const override { return order_ - 1; }

  Reg slope(Machine& machine, Reg x, const Level& s) const override {
    const Reg d = machine.evaluate(x, s);
    return machine.combine((Expr(x) - s.alpha * Expr(d)) / s.sigma);
  }

  Trial step(Machine& machine, const Grid& grid, Reg x, Reg eps, const Level& s, const Level& t) const override {
    const double h = t.lambda() - s.lambda();
    const auto first = [&](const Level& at, double u) {
      return (at.alpha / s.alpha) * Expr(x) - (at.sigma * std::expm1(u)) * Expr(eps);
    };
    const double r1 = order_ == 2 ? 0.5 : 1.0 / 3.0;
    const Level s1 = grid.at_lambda(s.lambda() + r1 * h);
    const Reg eps1 = slope(machine, machine.combine(first(s1, r1 * h)), s1);
    const Expr second = first(t, h) - (t.sigma * std::expm1(h) / (2.0 * r1)) * (Expr(eps1) - eps);
    if (order_ == 2) return trial(machine, second, first(t, h));
    constexpr double r2 = 2.0 / 3.0;
    const double u = r2 * h;
    const Level s2 = grid.at_lambda(s.lambda() + u);
    // expm1(u) / u - 1 = u phi_2(u).
    const Reg x2 = machine.combine(first(s2, u) - (s2.sigma * r2 / r1 * u * phi(2, u)) * (Expr(eps1) - eps));
    const Reg eps2 = slope(machine, x2, s2);
    return trial(machine, first(t, h) - (t.sigma / r2 * h * phi(2, h)) * (Expr(eps2) - eps), second);
  }

 private:
  static Trial trial(Machine& machine, const Expr& high, const Expr& low) {
    return {.x = machine.combine(high), .error = machine.combine(low - high), .scale = machine.combine(low)};
  }
  int order_;
};

}  // namespace

std::shared_ptr<const EmbeddedPair> make_dpm_pair(int order) {
  return std::make_shared<DpmPair>(order);
}

void register_sampler_dpm_adaptive(SamplerRegistry& registry) {
  std::vector<Option> options = adaptive_options(0.05, 0.0078);
  options.insert(options.end(),
                 {{"order", std::int64_t{3}, "2: DPM-Solver-12, 3: DPM-Solver-23", 2.0, 3.0},
                  {"eta", 0.0, "share of noise renewed in a step", 0.0, 1.0},
                  {"s_noise", 1.0, "inflation of that noise; 1 keeps the variance right", 0.5, 1.5},
                  {"pcoeff", 0.0, "proportional gain of the step controller", 0.0, 2.0},
                  {"icoeff", 1.0, "integral gain", 0.0, 2.0},
                  {"dcoeff", 0.0, "derivative gain", 0.0, 2.0},
                  {"accept_safety", 0.81, "a step is taken when it may shrink to no less than this", 0.1, 1.0}});
  registry.add({{.name = "dpm_adaptive",
                 .summary = "DPM-Solver-12 or -23 with steps chosen by their error; of the grid only the ends count",
                 .source = "Lu et al. 2022 (DPM-Solver), appendix C; controller and eta: k-diffusion",
                 .options = options,
                 .traits = {"adaptive", "stochastic", "refuses_alpha_zero", "evaluations_per_step=3", "order=3"}},
                [](const Settings& settings) -> Solver {
                  const auto order = static_cast<int>(settings.integer("order"));
                  const double eta = settings.number("eta");
                  AdaptiveOptions adaptive =
                      read_adaptive(settings, "dpm_adaptive",
                                    {.p = settings.number("pcoeff"),
                                     .i = settings.number("icoeff"),
                                     .d = settings.number("dcoeff"),
                                     .order = eta > 0.0 ? 1.5 : order,  // the error of a noisy step falls slower
                                     .accept_safety = settings.number("accept_safety")});
                  adaptive.eta = eta;
                  adaptive.s_noise = settings.number("s_noise");
                  return make_adaptive(make_dpm_pair(order), adaptive);
                }});
}

}  // namespace thaw
