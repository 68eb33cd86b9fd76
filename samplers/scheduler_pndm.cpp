// PNDM: the peer's loop as it is, for it looks levels up by timesteps that need not be the next ones.

#include <cmath>
#include <utility>
#include <vector>

#include "core/base/text.h"
#include "core/math/plan_builder.h"
#include "samplers/polynomial.h"
#include "samplers/scheduler_import.h"

namespace thaw {
namespace {

struct Pndm {
  PeerTable table;
  TimestepRule rule{};
  Level end;
  bool has_runge_kutta = true;
  bool is_v = false;

  Level level(double t) const { return t < 0.0 ? end : table.level(static_cast<std::size_t>(t)); }
};

/// Writes one run; steps go `stride` timesteps down from where they are.
class Walk {
 public:
  Walk(const Pndm& method, const Grid& grid, int steps, int total_steps)
      : method_(method), grid_(grid), b_(grid), times_(grid.times), stride_(std::floor(size() / total_steps)) {
    times_.resize(static_cast<std::size_t>(steps));
  }

  Plan run() {
    Reg x = b_.input();
    std::size_t next = 0;
    if (method_.has_runge_kutta)
      for (; next < 3; ++next) x = runge_kutta(x, next);
    else
      x = heun(x, next++);
    for (; next < times_.size(); ++next) {
      outputs_.insert(outputs_.begin(), ask(x, times_[next]));
      x = step(x, times_[next]);
    }
    return b_.finish(x);
  }

 private:
  double size() const { return static_cast<double>(method_.table.size()); }

  // The network's output, which is averaged as it is: noise or v.
  Reg ask(Reg x, double t) {
    const Level level = method_.level(t);
    const Reg d = b_.evaluate(x, level);
    const double norm = 1.0 / level.sigma;
    const Expr output = method_.is_v ? norm * (level.alpha * Expr(x) - Expr(d)) : norm * (x - level.alpha * Expr(d));
    return b_.combine(output, Role::kEps);
  }

  // DDIM from `from` to `to` with a mean output; v becomes noise with the state it starts from.
  Expr transfer(Reg x, double from, double to, const Expr& output) const {
    const Level s = method_.level(from), t = method_.level(to);
    const Expr eps = method_.is_v ? s.alpha * output + s.sigma * Expr(x) : output;
    return t.alpha * ((1.0 / s.alpha) * Expr(x) + (t.rho() - s.rho()) * eps);
  }

  Reg runge_kutta(Reg x, std::size_t i) {
    const double t = times_[i], half = std::floor(stride_ / 2.0);
    const double middle = times_[i + 1] + half;  // what the peer's list of timesteps holds, twice
    const Reg e1 = ask(x, t);
    outputs_.insert(outputs_.begin(), e1);
    const Reg e2 = ask(b_.combine(transfer(x, t, t - half, e1), Role::kStage), middle);
    const Reg e3 = ask(b_.combine(transfer(x, t, middle, e2), Role::kStage), middle);
    const double end = times_[i + 1];
    const Reg e4 = ask(b_.combine(transfer(x, t, middle - half, e3), Role::kStage), end);
    return finish_step(transfer(x, t, end, (1.0 / 6.0) * (e1 + 2.0 * Expr(e2) + 2.0 * Expr(e3) + e4)), end);
  }

  Reg heun(Reg x, std::size_t i) {
    const double t = times_[i];
    outputs_.insert(outputs_.begin(), ask(x, t));
    if (times_.size() == 1) return step(x, t);
    const Reg guess = b_.combine(transfer(x, t, t - stride_, outputs_[0]), Role::kStage);
    const double next = times_[i + 1];
    const Reg ahead = ask(guess, next);
    return finish_step(transfer(x, next + stride_, next, 0.5 * (outputs_[0] + Expr(ahead))), next);
  }

  Reg step(Reg x, double t) {
    const std::vector<double> weights = adams_bashforth(static_cast<int>(std::min<std::size_t>(outputs_.size(), 4)));
    Expr mean;
    for (std::size_t j = 0; j < weights.size(); ++j) mean += weights[j] * Expr(outputs_[j]);
    return finish_step(transfer(x, t, t - stride_, mean), t - stride_);
  }

  Reg finish_step(const Expr& sum, double t) {
    const Reg x = b_.combine(sum);
    b_.mark(x, method_.level(t));
    return x;
  }

  const Pndm& method_;
  const Grid& grid_;
  Builder b_;
  std::vector<double> times_;  // noisiest first
  double stride_;
  std::vector<Reg> outputs_{};  // newest first
};

}  // namespace

void import_pndm(Import& peer) {
  const SchedulerOptions& o = peer.o();
  Pndm method{.table = read_table(o, peer.schedules, {}), .rule = read_timestep_rule(o), .end = {1.0, 0.0}};
  read_prediction(peer, {"epsilon", "v_prediction"});
  method.is_v = peer.made.prediction == "v";
  method.has_runge_kutta = !o.flag("skip_prk_steps");
  const bool ends_at_table = !o.flag("set_alpha_to_one");
  if (ends_at_table) method.end = method.table.level(0);
  peer.made.schedule = make_table_schedule(method.table, variance_preserving(), o.class_name());
  peer.made.grid = [method, ends_at_table, options = peer.options](int steps) {
    const int least = method.has_runge_kutta ? 4 : 1;
    if (steps < least)
      options->fail("skip_prk_steps", concat("false needs at least ", least, " steps, got ", steps, "."));
    std::vector<double> times = whole_times(*options, method.rule, method.table, steps);
    const bool is_repeated = ends_at_table && times.back() == 0.0;
    return table_grid(method.table, std::move(times), is_repeated ? std::nullopt : std::optional(method.end));
  };
  peer.made.solver = [method, total = peer.total_steps](const Grid& grid) {
    const int steps = static_cast<int>(grid.times.back() >= 0.0 ? grid.size() : grid.steps());
    return Walk(method, grid, steps, total > 0 ? total : steps).run();
  };  // namespace thaw
  peer.section("schedule", method.table.yaml);
  peer.section("grid", grid_yaml(method.rule, "clean"));
  peer.section("sampler", concat("{type: ", method.has_runge_kutta ? "pndm" : "plms", ", final_order: full}"));
  if (method.has_runge_kutta) peer.note("9 network calls more than steps: the first three steps are Runge-Kutta's.");
  if (method.is_v)
    peer.inexact("v predictions are averaged as they are and turned into noise at the first one's level.");
  if (method.rule.spacing != Spacing::kLeading)
    peer.inexact("each step goes floor(T / steps) timesteps down, not to the next timestep of the grid.");
  if (ends_at_table) peer.inexact("set_alpha_to_one is false: a step below timestep 0 ends at timestep 0.");
}

}  // namespace thaw
