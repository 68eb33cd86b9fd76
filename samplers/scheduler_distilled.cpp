// Schedulers of distilled networks: LCM, TCD, consistency models, sCM; and CogVideoX's DPM.

#include <algorithm>
#include <cmath>

#include "core/base/text.h"
#include "core/math/plan_builder.h"
#include "samplers/first_order.h"
#include "samplers/scheduler_import.h"

namespace thaw {
namespace {

// Every k-th of `original` timesteps, from the noisiest: the peers' set_timesteps of LCM and TCD.
std::vector<double> distilled_times(const SchedulerOptions& o, const PeerTable& table, int original, int steps) {
  if (steps > original)
    o.fail("original_inference_steps", concat("must be at least the ", steps, " steps asked for, got ", original, "."));
  const double k = std::floor(static_cast<double>(table.size()) / original);
  const double stride = static_cast<double>(original) / steps;
  std::vector<double> times;
  for (int i = 0; i < steps; ++i) times.push_back((original - std::floor(i * stride)) * k - 1.0);
  return times;
}

int read_original(const SchedulerOptions& o, const PeerTable& table) {
  return static_cast<int>(o.integer("original_inference_steps", 1, static_cast<std::int64_t>(table.size())));
}

void import_lcm(Import& peer) {
  const SchedulerOptions& o = peer.o();
  const PeerTable table = read_table(o, peer.schedules, {.has_rescaling = true});
  read_prediction(peer, {"epsilon", "sample", "v_prediction"});
  read_thresholding(peer);
  const int original = read_original(o, table);
  peer.made.schedule = make_table_schedule(table, variance_preserving(), o.class_name());
  peer.made.grid = [=, options = peer.options](int steps) {
    return table_grid(table, distilled_times(*options, table, original, steps), Level{1.0, 0.0});
  };
  peer.section("schedule", table.yaml);
  peer.section("grid", concat("{type: lcm, steps: 4, original_steps: ", original, "}"));
  peer.made.solver = peer.sampler(concat("{type: lcm, boundary: timestep, timestep_scaling: ",
                                         format_double(o.number("timestep_scaling", 1e-3, 1e6)), "}"));
}  // namespace

// Zheng et al. 2024 (TCD), algorithm 4: down to s = (1 - gamma) t_next, then up to t_next.
FirstOrder tcd_step(const PeerTable& table, const Grid& grid, std::size_t i, double eta) {
  const bool is_last = i + 1 == grid.steps();
  const double next = is_last ? 0.0 : grid.times[i + 1];
  // In float32 as shipped: (1 - 0.3) 690 is 483 there and 482.99... in double.
  const double s = std::floor(static_cast<float>(1.0 - eta) * static_cast<float>(next));
  const Level &from = grid[i], down = table.level(static_cast<std::size_t>(s)),
              to = table.level(static_cast<std::size_t>(next));
  const double up = is_last || eta == 0.0 ? 1.0 : to.alpha / down.alpha;
  const double keep = up * down.sigma / from.sigma;
  return {.keep = keep, .pull = up * down.alpha - keep * from.alpha, .fresh = std::sqrt((1.0 - up) * (1.0 + up))};
}

void import_tcd(Import& peer) {
  const SchedulerOptions& o = peer.o();
  const PeerTable table = read_table(o, peer.schedules, {.has_rescaling = true});
  read_prediction(peer, {"epsilon", "sample", "v_prediction"});
  const int original = read_original(o, table);
  const double eta = peer.call("eta", 0.3, 0.0, 1.0);
  peer.made.schedule = make_table_schedule(table, variance_preserving(), o.class_name());
  peer.made.grid = [=, options = peer.options](int steps) {
    return table_grid(table, distilled_times(*options, table, original, steps), table.level(0));
  };
  peer.made.solver = [=](const Grid& grid) {
    return first_order_plan(
        grid, [=](const Grid& g, std::size_t i) { return tcd_step(table, g, i, eta); }  // namespace thaw
    );
  };
  peer.section("schedule", table.yaml);
  peer.section("grid", concat("{type: lcm, steps: 4, original_steps: ", original, ", final: sigma_min}"));
  peer.section("sampler", concat("{type: tcd, eta: ", format_double(eta), "}"));
  peer.inexact(
      "the intermediate timestep is rounded down to a whole one, and the last step ends at timestep 0 with "
      "its noise.");
}

void import_consistency(Import& peer) {
  const SchedulerOptions& o = peer.o();
  const double low = o.number("sigma_min", 1e-6, 1e3), high = o.number("sigma_max", low, 1e6);
  const double rho = o.number("rho", 0.1, 100.0), s_noise = o.number("s_noise", 0.5, 1.5);
  const auto table = static_cast<int>(o.integer("num_train_timesteps", 2, 1000000));
  if (low >= high) o.fail("sigma_max", concat("must be above sigma_min ", low, ", got ", high, "."));
  if (o.flag("clip_denoised")) peer.made.thresholding = {.kind = ImportedThresholding::Kind::kClip, .range = 1.0};
  peer.made.prediction = "consistency";
  peer.made.start_scale = [high](int) { return high; };
  const std::string schedule =
      concat("{type: edm, sigma_min: ", format_double(low), ", sigma_max: ", format_double(high), "}");
  peer.made.schedule = peer.schedules.create(Config::parse(schedule, o.file()), "");
  peer.made.grid = [=, options = peer.options](int steps) {
    if (steps > table)
      options->fail("num_train_timesteps", concat(steps, " steps were asked for, there are ", table, "."));
    const std::vector<double> all = spaced_sigmas(SigmaKind::kKarras, low, high, table, rho);
    SigmaGrid grid{.sigmas = {}, .times = {}, .end = low};
    for (int i = 0; i < steps; ++i) {
      grid.sigmas.push_back(all[static_cast<std::size_t>(i * (table / steps))]);
      grid.times.push_back(250.0 * std::log(grid.sigmas.back() + 1e-44));
    }
    expect_falling(*options, grid);
    return grid.on(variance_exploding());
  };
  peer.section("schedule", schedule);
  peer.section("grid", concat("{type: karras, steps: 2, rho: ", format_double(rho), "}"));
  peer.made.solver = peer.sampler(
      concat("{type: consistency, sigma_min: ", format_double(low), ", s_noise: ", format_double(s_noise), "}"));
  peer.inexact(concat("levels are every (", table, " / steps)-th of a Karras grid of ", table,
                      " levels, so that the last one stays above sigma_min."));
}

void import_scm(Import& peer) {
  const SchedulerOptions& o = peer.o();
  const double data = o.number("sigma_data", 1e-6, 1e6);
  o.text("prediction_type", {"trigflow"});
  peer.made.prediction = "v";
  peer.made.start_scale = [data](int) { return data; };
  const std::string schedule = concat("{type: trigflow, sigma_data: ", format_double(data), "}");
  peer.made.schedule = peer.schedules.create(Config::parse(schedule, o.file()), "");
  peer.made.grid = [data, path = &peer.made.schedule->path()](int steps) {
    Grid grid{.levels = {}, .times = {}, .path = path};
    for (int i = 0; i <= steps; ++i) {
      const double even = i == steps ? 0.0 : 1.5708 + i * (-1.5708 / steps);
      const double t = steps == 2 && i == 1 ? 1.3 : even;
      grid.times.push_back(t);
      // 1.5708 is a little above pi / 2.
      grid.levels.push_back(i == steps ? Level{1.0, 0.0} : Level{std::max(0.0, std::cos(t)), data * std::sin(t)});
    }
    return grid;
  };
  peer.made.solver = [](const Grid& grid) {
    Builder b(grid);
    Reg x = b.input();
    for (std::size_t i = 0; i < grid.steps(); ++i) {
      const Reg d = b.evaluate(x, grid[i]);
      const Level& t = grid[i + 1];
      x = t.is_clean() ? b.combine(d) : b.combine(t.alpha * Expr(d), b.noise(grid[i], t, t.sigma));
      b.mark(x, t);
    }
    return b.finish(x);
  };
  peer.section("schedule", schedule);
  peer.section("sampler", "{type: consistency}");
  peer.inexact(
      "angles are even from 1.5708 to 0 except for two steps, where the second starts at 1.3; the first one "
      "lies 3.7e-6 beyond pi / 2, where alpha would be negative: it counts as 0 here.");
}

}  // namespace

// 2M-SDE whose steps go floor(T / N) timesteps down and whose history knows the grid's timesteps.
void import_cogvideox_dpm(Import& peer) {
  const SchedulerOptions& o = peer.o();
  const PeerTable table = read_table(o, peer.schedules, {.has_rescaling = true, .has_snr_shift = true});
  const TimestepRule rule = read_timestep_rule(o);
  read_prediction(peer, {"epsilon", "sample", "v_prediction"});
  const bool ends_clean = o.flag("set_alpha_to_one");
  const Level end = ends_clean ? Level{1.0, 0.0} : table.level(0);
  peer.made.schedule = make_table_schedule(table, variance_preserving(), o.class_name());
  peer.made.grid = [=, options = peer.options](int steps) {
    std::vector<double> times = whole_times(*options, rule, table, steps);
    const bool is_repeated = !ends_clean && times.back() == 0.0;
    return table_grid(table, std::move(times), is_repeated ? std::nullopt : std::optional(end));
  };
  peer.made.solver = [=](const Grid& grid) {
    const std::size_t steps = grid.times.back() >= 0.0 ? grid.size() : grid.steps();
    const double stride = std::floor(static_cast<double>(table.size()) / static_cast<double>(steps));
    Builder b(grid);
    Reg x = b.input(), previous = kNoReg;
    for (std::size_t i = 0; i < steps; ++i) {
      const Level& s = grid[i];
      const double next = grid.times[i] - stride;
      const Level t = next >= 0.0 ? table.level(static_cast<std::size_t>(next)) : end;
      const Reg d = b.evaluate(x, s);
      Expr data = d;
      if (i > 0 && next >= 0.0 && grid[i - 1].alpha > 0.0) {
        const double r = (s.lambda() - grid[i - 1].lambda()) / (t.lambda() - s.lambda());
        data += (0.5 / r) * (Expr(d) - previous);
      }
      const FirstOrder step = first_order(s, t, 1.0);
      x = b.combine(step.keep * x + step.pull * data, b.noise(s, t, step.fresh));
      b.mark(x, t);
      previous = d;
    }
    return b.finish(x);
  };
  peer.section("schedule", table.yaml);
  peer.section("grid", grid_yaml(rule, "clean"));
  peer.section("sampler", "{type: dpmpp_2m_sde, solver_type: midpoint, euler_at_final: true}");
  if (rule.spacing != Spacing::kLeading)
    peer.inexact("each step goes floor(T / steps) timesteps down, not to the next timestep of the grid.");
  if (!ends_clean) peer.inexact("set_alpha_to_one is false: the last step ends at timestep 0.");
  if (o.is_given("clip_sample"))
    peer.note("nothing is clipped: CogVideoX's step never looks at clip_sample, although its default is true.");
}

void import_distilled(Import& peer) {
  if (peer.is("LCMScheduler")) return import_lcm(peer);
  if (peer.is("TCDScheduler")) return import_tcd(peer);
  if (peer.is("SCMScheduler")) return import_scm(peer);
  import_consistency(peer);
}

}  // namespace thaw
