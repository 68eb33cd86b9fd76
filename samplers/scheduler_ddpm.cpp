// Ancestral steps on a table: DDPM.

#include <cmath>

#include "core/base/text.h"
#include "samplers/scheduler_import.h"

namespace thaw {
namespace {

// The peer adds noise in every step from a timestep above 0, the one into the clean level included: its variance is
// clamped to 1e-20 there (small), or that of the whole level (large).
Plan with_last_noise(Plan plan, const Grid& grid, bool is_large) {
  const std::size_t last = grid.steps() - 1;
  if (grid.times[last] == 0.0) return plan;
  for (std::size_t i = plan.program.size(); i-- > 0;) {
    auto* combine = std::get_if<Combine>(&plan.program[i]);
    if (combine == nullptr) continue;
    const double weight = is_large ? grid[last].sigma : 1e-10;
    combine->noise.push_back(
        {.weight = weight,
         .draw = {.is_path = false, .stream = kChurnStream, .ordinal = static_cast<std::uint32_t>(last)}});
    break;
  }
  return plan;
}

}  // namespace

void import_ddpm(Import& peer) {
  const SchedulerOptions& o = peer.o();
  const std::vector<std::string> schedules{"linear", "scaled_linear", "squaredcos_cap_v2", "laplace", "sigmoid"};
  const PeerTable table = read_table(o, peer.schedules, {.schedules = schedules, .has_rescaling = true});
  const TimestepRule rule = read_timestep_rule(o);
  read_prediction(peer, {"epsilon", "sample", "v_prediction"});
  read_thresholding(peer);
  const std::string variance = o.text("variance_type", {"fixed_small", "fixed_small_log", "fixed_large",
                                                        "fixed_large_log", "learned", "learned_range"});
  if (variance == "fixed_large_log")
    o.fail("variance_type",
           "\"fixed_large_log\" takes the square root of a logarithm in diffusers, which is NaN. Use "
           "fixed_large.");
  if (variance == "learned")
    o.fail("variance_type", "\"learned\" takes the network's variance as it is; learned_range is supported.");
  const char* ours = variance == "fixed_large" ? "large" : variance == "learned_range" ? "learned" : "small";
  peer.made.schedule = make_table_schedule(table, variance_preserving(), o.class_name());
  peer.made.grid = [=, options = peer.options](int steps) {
    return table_grid(table, whole_times(*options, rule, table, steps), Level{1.0, 0.0});
  };
  peer.section("schedule", table.yaml);
  peer.section("grid", grid_yaml(rule, "clean"));
  peer.made.solver = peer.sampler(concat("{type: ddpm, variance: ", ours, "}"));
  if (rule.spacing != Spacing::kTrailing && rule.offset == 0) return;
  if (variance == "learned_range")
    o.fail("variance_type",
           "\"learned_range\" is supported for timesteps that end at 0: spacing leading without offset, "
           "or linspace.");
  peer.inexact(variance == "fixed_large"
                   ? "the last step adds noise of the whole last level to the result: diffusers adds it whenever the "
                     "timestep is above 0."
                   : "the last step adds noise of 1e-10: diffusers clamps the variance into the clean level to 1e-20.");
  peer.made.solver = [base = peer.made.solver, is_large = variance == "fixed_large"](const Grid& grid) {
    return with_last_noise(base(grid), grid, is_large);
  };  // namespace thaw
}

}  // namespace thaw
