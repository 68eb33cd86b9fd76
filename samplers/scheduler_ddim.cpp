// DDIM and what steps like it: by whole timesteps of a table, x0 and noise estimated apart.

#include <algorithm>
#include <cmath>

#include "core/base/text.h"
#include "core/math/plan_builder.h"
#include "samplers/first_order.h"
#include "samplers/scheduler_import.h"

namespace thaw {
namespace {

/// t -> t - floor(T / N), whatever the next timestep of the grid is.
struct Stride {
  PeerTable table;
  Level end;  // where a step below timestep 0 goes
  bool ends_at_table = false;
  int total_steps = 0;  // 0: as many as are taken

  double length(int steps) const {
    return std::floor(static_cast<double>(table.size()) / (total_steps > 0 ? total_steps : steps));
  }
  Level to(double t, int steps) const {
    const double next = t - length(steps);
    return next >= 0.0 ? table.level(static_cast<std::size_t>(next)) : end;
  }
};

Stride read_stride(Import& peer, const TableRule& rule) {
  const SchedulerOptions& o = peer.o();
  Stride stride{.table = read_table(o, peer.schedules, rule), .end = {1.0, 0.0}};
  stride.ends_at_table = o.is_own("set_alpha_to_one") && !o.flag("set_alpha_to_one");
  stride.total_steps = peer.total_steps;
  if (stride.ends_at_table) stride.end = stride.table.level(0);
  return stride;
}

Grid stride_grid(const Stride& stride, std::vector<double> times) {
  // A last step from timestep 0 to itself adds no level.
  const bool is_repeated = !stride.end.is_clean() && times.back() == 0.0;
  return table_grid(stride.table, std::move(times), is_repeated ? std::nullopt : std::optional(stride.end));
}

// Calls of the network: a last step from timestep 0 to itself has no level of its own.
int stride_steps(const Grid& grid) {
  return static_cast<int>(grid.times.back() >= 0.0 ? grid.size() : grid.steps());
}

enum class Estimate : std::uint8_t { kThresholded, kRawNoise };

// x_t = alpha_t D + direct eps + fresh z, eps from the estimate before thresholding: Song et al. 2021, eq. 12.
Reg stride_step(Builder& b, Reg x, const Level& s, const Level& t, double eta, Estimate noise) {
  const auto [keep, pull, fresh] = first_order(s, t, eta);
  const NoiseTerm draw = fresh > 0.0 ? b.noise(s, t, fresh) : NoiseTerm{};
  if (noise == Estimate::kThresholded) return b.combine(keep * x + pull * b.evaluate(x, s), draw);
  const auto outputs = b.evaluate(x, s, {OutputKind::kData, OutputKind::kRaw});
  return b.combine(t.alpha * Expr(outputs[0]) + keep * (Expr(x) - s.alpha * Expr(outputs[1])), draw);
}

Solver stride_solver(const Stride& stride, double eta, Estimate noise) {
  return [=](const Grid& grid) {
    const int steps = stride_steps(grid);
    Builder b(grid);
    Reg x = b.input();
    for (int i = 0; i < steps; ++i) {
      const double t = grid.times[static_cast<std::size_t>(i)];
      const Level s = stride.table.level(static_cast<std::size_t>(t));
      const Level to = stride.to(t, steps);
      x = stride_step(b, x, s, to, eta, noise);
      b.mark(x, to);
    }
    return b.finish(x);
  };
}

void note_stride(Import& peer, const TimestepRule& rule) {
  if (rule.spacing == Spacing::kLeading) return;
  peer.inexact(
      concat("each step goes floor(T / steps) timesteps down, not to the next timestep of the grid: with "
             "\"",
             rule.spacing == Spacing::kLinspace ? "linspace" : "trailing",
             "\" spacing the network is told a noisier or cleaner level than its input has",
             rule.spacing == Spacing::kTrailing ? " where steps do not divide T." : "."));
}

void note_table_end(Import& peer, const Stride& stride) {
  if (stride.ends_at_table)
    peer.inexact("set_alpha_to_one is false: a step below timestep 0 ends at timestep 0, noise included.");
}

void import_forward(Import& peer) {
  const bool is_cogvideox = peer.is("CogVideoXDDIMScheduler");
  const SchedulerOptions& o = peer.o();
  const Stride stride = read_stride(peer, {.has_rescaling = true, .has_snr_shift = is_cogvideox});
  const TimestepRule rule = read_timestep_rule(o);
  read_prediction(peer, {"epsilon", "sample", "v_prediction"});
  const double eta = is_cogvideox ? 0.0 : peer.call("eta", 0.0, 0.0, 1.0);
  if (!is_cogvideox) read_thresholding(peer);
  const bool is_thresholded = peer.made.thresholding.kind != ImportedThresholding::Kind::kNone;
  peer.made.schedule = make_table_schedule(stride.table, variance_preserving(), o.class_name());
  peer.made.grid = [=, options = peer.options](int steps) {
    return stride_grid(stride, whole_times(*options, rule, stride.table, steps));
  };
  peer.made.solver = stride_solver(stride, eta, is_thresholded ? Estimate::kRawNoise : Estimate::kThresholded);
  peer.section("schedule", stride.table.yaml);
  peer.section("grid", grid_yaml(rule, "clean"));
  peer.section("sampler", concat("{type: ddim, eta: ", format_double(eta),
                                 is_thresholded ? ", use_clipped_model_output: false}" : "}"));
  if (is_thresholded) peer.note("noise is estimated from the prediction before thresholding, x0 after it.");
  if (is_cogvideox && o.is_given("clip_sample"))
    peer.note("nothing is clipped: CogVideoX's step never looks at clip_sample, although its default is true.");
  note_stride(peer, rule);
  note_table_end(peer, stride);
}  // namespace

void import_inverse(Import& peer) {
  const SchedulerOptions& o = peer.o();
  const Stride stride = read_stride(peer, {.has_rescaling = true});
  const TimestepRule rule = read_timestep_rule(o);
  if (rule.spacing == Spacing::kLinspace)
    o.fail("timestep_spacing", "must be one of leading, trailing, got \"linspace\".");
  read_prediction(peer, {"epsilon", "sample", "v_prediction"});
  if (o.flag("clip_sample"))
    o.fail("clip_sample",
           "true clips x0 made of a state and a noise estimate of two different levels, which is no "
           "thresholding of a prediction. Set it to false.");
  peer.made.schedule = make_table_schedule(stride.table, variance_preserving(), o.class_name());
  peer.made.grid = [=, options = peer.options](int steps) {
    std::vector<double> times = whole_times(*options, rule, stride.table, steps);
    if (rule.spacing == Spacing::kTrailing && stride.length(steps) * steps != static_cast<double>(stride.table.size()))
      options->fail("timestep_spacing", concat("\"trailing\" needs steps that divide the ", stride.table.size(),
                                               " timesteps here, got ", steps, "."));
    return stride_grid(stride, std::move(times));
  };
  peer.section("schedule", stride.table.yaml);
  peer.section("grid", grid_yaml(rule, stride.ends_at_table ? "sigma_min" : "clean"));
  peer.made.solver =
      peer.sampler(concat("{type: ddim_inversion, form: diffusers, prediction: ", peer.made.prediction, "}"));
  peer.note(
      "runs from the clean end towards noise; the network is asked about a state as if it were one level "
      "noisier than it is.");
  note_table_end(peer, stride);
}  // namespace thaw

void import_repaint(Import& peer) {
  const SchedulerOptions& o = peer.o();
  const Stride stride = read_stride(peer, {.schedules = {"linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"}});
  const double eta = o.number("eta", 0.0, 1.0);
  read_thresholding(peer);
  peer.made.prediction = "noise";
  const bool is_clipped = peer.made.thresholding.kind != ImportedThresholding::Kind::kNone;
  peer.made.schedule = make_table_schedule(stride.table, variance_preserving(), o.class_name());
  peer.made.grid = [=, options = peer.options](int steps) {
    return stride_grid(stride, whole_times(*options, TimestepRule{}, stride.table, steps));
  };
  peer.made.solver = stride_solver(stride, eta, is_clipped ? Estimate::kRawNoise : Estimate::kThresholded);
  peer.section("schedule", stride.table.yaml);
  peer.section("grid", grid_yaml(TimestepRule{}, "clean"));
  peer.section("sampler", concat("{type: ddim, eta: ", format_double(eta),
                                 is_clipped ? ", use_clipped_model_output: false}" : "}"));
  peer.inexact(
      "only the denoising steps are imported: the known part is put back at every mark, and jumps back in "
      "time (jump_length, jump_n_sample) are arguments of the peer's set_timesteps.");
}

}  // namespace

void import_ddim(Import& peer) {
  if (peer.is("DDIMInverseScheduler")) return import_inverse(peer);
  if (peer.is("RePaintScheduler")) return import_repaint(peer);
  import_forward(peer);
}

}  // namespace thaw
