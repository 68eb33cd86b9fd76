#include "samplers/multistep.h"

#include <algorithm>

namespace thaw {
namespace {

constexpr std::size_t kFewSteps = 15;  // below it diffusers' `lower_order_final` acts

std::size_t counted_steps(const Grid& grid, bool repeats_last_level) {
  return grid.steps() + (repeats_last_level ? 1 : 0);
}

bool is_lowered(LowerOrderFinal rule, std::size_t steps) {
  return rule == LowerOrderFinal::kAlways || (rule == LowerOrderFinal::kAuto && steps < kFewSteps);
}

}  // namespace

int OrderRule::at(const Grid& grid, std::size_t i) const {
  if (grid[i + 1].is_clean() && !keeps_order_into_clean) return 1;
  const std::size_t steps = counted_steps(grid, repeats_last_level);
  const std::size_t left = steps - i;
  if (has_euler_at_final && left == 1) return 1;
  return is_lowered(lower_final, steps) ? std::min(order, static_cast<int>(left)) : order;
}

int OrderRule::corrector_at(const Grid& grid, std::size_t i, int wanted) const {
  const std::size_t steps = counted_steps(grid, repeats_last_level);
  return is_lowered(lower_final, steps) ? std::min(wanted, static_cast<int>(steps - i) + 2) : wanted;
}

std::vector<Option> with_order_options(std::vector<Option> own) {
  own.push_back(Option{.name = "lower_order_final",
                       .fallback = std::string("never"),
                       .help = "orders 2, 1 in the last steps when the end is not clean; auto: below 15 steps",
                       .choices = {"never", "auto", "always"}});
  own.push_back({"euler_at_final", false, "order 1 in the last step even when the end is not clean"});
  own.push_back({"repeats_last_level", false,
                 "the order rule counts one more step that stays at the last level, as grids that write it twice do; "
                 "a corrector corrects the last state"});
  return own;
}

OrderRule read_order_rule(const Settings& settings, int order) {
  const std::string& lower = settings.text("lower_order_final");
  return {.order = order,
          .lower_final = lower == "always" ? LowerOrderFinal::kAlways
                         : lower == "auto" ? LowerOrderFinal::kAuto
                                           : LowerOrderFinal::kNever,
          .has_euler_at_final = settings.flag("euler_at_final"),
          .repeats_last_level = settings.flag("repeats_last_level")};
}

Option order_option(int fallback, int highest) {
  return {"order", std::int64_t{fallback}, "predictions a step uses", 1, static_cast<double>(highest)};
}

Option final_order_option(const char* fallback) {
  return {.name = "final_order",
          .fallback = std::string(fallback),
          .help = "order of the step into the clean level; full amplifies rounding on many steps",
          .choices = {"one", "full"}};
}

OrderRule read_rho_order_rule(const Settings& settings, int order) {
  return {.order = order, .keeps_order_into_clean = settings.text("final_order") == "full"};
}

Option solver_type_option(const char* fallback) {
  return {.name = "solver_type",
          .fallback = std::string(fallback),
          .help = "weight of the slope in steps of order 2; heun is exact on a straight line",
          .choices = {"midpoint", "heun"}};
}

std::vector<double> interpolation_weights(std::span<const double> nodes, std::span<const double> moments) {
  std::vector<double> weights;
  for (std::size_t j = 0; j < nodes.size(); ++j) {
    std::vector<double> basis{1.0};  // coefficients of the Lagrange polynomial of node j, lowest power first
    for (std::size_t m = 0; m < nodes.size(); ++m) {
      if (m == j) continue;
      basis.push_back(0.0);
      for (std::size_t k = basis.size(); k-- > 0;)
        basis[k] = ((k > 0 ? basis[k - 1] : 0.0) - nodes[m] * basis[k]) / (nodes[j] - nodes[m]);
    }
    double weight = 0.0;
    for (std::size_t k = 0; k < basis.size(); ++k) weight += basis[k] * moments[k];
    weights.push_back(weight);
  }
  return weights;
}

}  // namespace thaw
