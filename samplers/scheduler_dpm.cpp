// DPM-Solver as diffusers ships it: multistep, its inverse, and singlestep.

#include <algorithm>
#include <cmath>

#include "core/base/text.h"
#include "core/math/plan_builder.h"
#include "samplers/exponential.h"
#include "samplers/inversion.h"
#include "samplers/rho.h"
#include "samplers/scheduler_dpm_sigmas.h"

namespace thaw {
namespace {

std::string quoted(const std::string& text) {
  return concat("\"", text, "\"");
}

/// algorithm_type and solver_type with the aliases that the peer replaces.
struct DpmMethod {
  std::string algorithm = "dpmsolver++";
  std::string type = "midpoint";
  int order = 2;

  bool is_stochastic() const { return algorithm.starts_with("sde"); }
  bool is_data() const { return algorithm.ends_with("++"); }
};

DpmMethod read_method(Import& peer) {
  const SchedulerOptions& o = peer.o();
  DpmMethod method;
  method.order = static_cast<int>(o.integer("solver_order", 1, 3));
  if (o.is_own("algorithm_type"))
    method.algorithm =
        o.text("algorithm_type", {"dpmsolver++", "dpmsolver", "sde-dpmsolver++", "sde-dpmsolver", "deis"});
  else
    method.algorithm = "sde-dpmsolver++";  // CosineDPMSolverMultistep knows no other
  if (method.algorithm == "deis") {
    peer.note("algorithm_type \"deis\" means \"dpmsolver++\" here, as diffusers replaces it.");
    method.algorithm = "dpmsolver++";
  }
  if (method.order > 1) {
    const std::string type = o.text("solver_type", {"midpoint", "heun", "logrho", "bh1", "bh2"});
    if (type == "heun")
      method.type = type;
    else if (type != "midpoint")
      peer.note(concat("solver_type ", quoted(type), " means \"midpoint\" here, as diffusers replaces it."));
  }
  return method;
}

// Where the shipped third order is not one.
void note_third_order(Import& peer, const DpmMethod& method) {
  if (method.order != 3) return;
  if (method.algorithm == "sde-dpmsolver++")
    peer.note(
        "order 3 of sde-dpmsolver++ is diffusers' with a wrong sign in the second difference: variance of order "
        "1, 4.8e-3 off after 1000 steps (compat; dpmpp_3m_sde is the right one, 1.7e-5).");
  else if (method.is_data())
    peer.note("order 3 lacks a factor 2 in one term, as published: measured slope 1.94 (compat; dpmpp_3m has 3.01).");
  else
    peer.note("order 3 lacks a factor 2 in one term, as published: measured slope 1.92 (compat; dpm_3m has 2.97).");
}

std::string multistep_yaml(const DpmMethod& method, const std::string& rule) {
  const std::string type = concat(", solver_type: ", method.type, rule, "}");
  if (method.order == 1 && method.algorithm != "sde-dpmsolver")
    return method.is_stochastic() ? "{type: ddim, eta: 1}" : "{type: ddim}";
  if (method.algorithm == "sde-dpmsolver") return concat("{type: sde_dpmsolver, order: ", method.order, type);
  if (method.algorithm == "sde-dpmsolver++")
    return concat("{type: ", method.order == 3 ? "dpmpp_3m_sde_compat_hf" : "dpmpp_2m_sde", type);
  if (method.is_data()) return concat("{type: ", method.order == 3 ? "dpmpp_3m_compat" : "dpmpp_2m", type);
  return concat("{type: ", method.order == 3 ? "dpm_3m_compat" : "dpm_2m", type);
}

void expect_method(const Import& peer, const DpmMethod& method, bool ends_clean) {
  const SchedulerOptions& o = peer.o();
  if (!method.is_data() && ends_clean)
    o.fail("final_sigmas_type", concat("\"zero\" is not supported for algorithm_type ", quoted(method.algorithm),
                                       "; diffusers refuses it too. Use sigma_min."));
  if (method.algorithm == "sde-dpmsolver" && method.order == 3)
    o.fail("solver_order", "3 does not exist for algorithm_type \"sde-dpmsolver\"; diffusers fails at the third step.");
  if (method.is_stochastic() && method.order == 3 && peer.is("EDMDPMSolverMultistepScheduler"))
    o.fail("solver_order",
           "3 does not exist for algorithm_type \"sde-dpmsolver++\" in this scheduler; diffusers fails "
           "at the third step.");
}

std::string order_rule_yaml(const SchedulerOptions& o, const DpmMethod& method, bool repeats) {
  if (method.order == 1 && method.algorithm != "sde-dpmsolver") return "";
  std::string yaml = concat(", lower_order_final: ", o.flag("lower_order_final") ? "auto" : "never");
  if (o.is_own("euler_at_final") && o.flag("euler_at_final")) yaml += ", euler_at_final: true";
  return yaml + (repeats ? ", repeats_last_level: true" : "");
}

/// The peer's multistep run backwards in noise: weights of the same rules with a negative step.
class InverseWalk {
 public:
  InverseWalk(const Grid& grid, const DpmMethod& method, const OrderRule& rule)
      : grid_(grid), method_(method), rule_(rule), b_(grid) {}

  Plan run() {
    Reg x = b_.input();
    for (std::size_t i = grid_.steps(); i > 0; --i) x = step(x, i);
    return finish_inverted(b_, x);
  }

 private:
  Reg step(Reg x, std::size_t i) {
    const Level &s = grid_[i], &t = grid_[i - 1];
    const Reg d = b_.evaluate(x, s);
    const bool is_data = method_.is_data();
    predictions_.insert(predictions_.begin(), is_data ? d : b_.combine(rho_slope(x, d, s), Role::kEps));
    offsets_.insert(offsets_.begin(), s.lambda());
    const auto done = static_cast<int>(grid_.steps() - i);
    const int order = std::min(rule_.at(grid_, static_cast<std::size_t>(done)), done + 1);
    std::vector<double> offsets;
    for (int j = 0; j < order; ++j) offsets.push_back(offsets_[static_cast<std::size_t>(j)] - s.lambda());
    const ExponentialRule rule{.slope = method_.type == "heun" ? SlopeRule::kExact : SlopeRule::kMidpoint,
                               .curvature = CurvatureRule::kHalved};
    const double h = t.lambda() - s.lambda();
    const std::vector<double> weights = rule.weights(offsets, h, is_data ? 1.0 : -1.0);
    Expr sum = (is_data ? t.sigma / s.sigma : t.alpha / s.alpha) * Expr(x);
    for (std::size_t j = 0; j < weights.size(); ++j)
      sum += ((is_data ? t.alpha : t.sigma) * weights[j]) * Expr(predictions_[j]);
    const Reg next = b_.combine(sum);
    b_.mark(next, t);
    return next;
  }

  const Grid& grid_;
  const DpmMethod& method_;
  const OrderRule& rule_;
  Builder b_;
  std::vector<Reg> predictions_{};  // newest first
  std::vector<double> offsets_{};
};

// Timesteps of the peer run from clean to noisy; ours are the same levels, noisiest first.
SigmaGrid inverse_grid(const DpmSigmas& sigmas, const SchedulerOptions& o, int steps) {
  SigmaGrid made{.sigmas = {}, .times = {}};
  const PeerTable& table = sigmas.table;
  if (sigmas.kind == SigmaKind::kTable) {
    const double first = sigmas.rule.first;
    if (sigmas.rule.spacing == Spacing::kTrailing)
      made.times = trailing_times(o, first, static_cast<double>(table.size()), steps);
    for (int i = steps - 1; i >= 0 && sigmas.rule.spacing == Spacing::kLeading; --i)
      made.times.push_back(i * std::floor(first / (steps + 1)) + sigmas.rule.offset);
    for (int i = steps - 1; i >= 0 && sigmas.rule.spacing == Spacing::kLinspace; --i)
      made.times.push_back(std::nearbyint(i * ((first - 1.0) / steps)));
    for (const double t : made.times) made.sigmas.push_back(rho_at(table, t));
    const double noisiest = rho_at(table, sigmas.rule.first - 1.0);
    if (made.sigmas.front() < noisiest) {
      made.sigmas.insert(made.sigmas.begin(), noisiest);
      made.times.insert(made.times.begin(), sigmas.rule.first - 1.0);
    }
  } else {
    made = sigmas.grid(o, steps);
    const bool has_twins = std::adjacent_find(made.times.begin(), made.times.end()) != made.times.end();
    if (sigmas.kind == SigmaKind::kKarras && has_twins)
      o.fail("use_karras_sigmas", concat(steps,
                                         " steps have timesteps that are equal when rounded; diffusers drops them "
                                         "and ends early. Take fewer steps."));
  }
  made.repeats_last = true;  // nothing below the cleanest level
  expect_falling(o, made);
  return made;
}

}  // namespace

Solver import_dpm_solver(Import& peer, bool repeats_last, bool ends_clean) {
  const DpmMethod method = read_method(peer);
  expect_method(peer, method, ends_clean);
  if (peer.is("CosineDPMSolverMultistepScheduler") && method.order == 3)
    peer.o().fail("solver_order", "must be 1 or 2 in this scheduler, got 3.");
  note_third_order(peer, method);
  if (method.algorithm == "sde-dpmsolver")
    peer.note(
        "sde-dpmsolver does not keep the marginals: on a point mass a step into sigma has the variance "
        "sigma^2 (1 + 2 (e^h - 1)^2).");
  return peer.sampler(multistep_yaml(method, order_rule_yaml(peer.o(), method, repeats_last)));
}

void import_dpm(Import& peer) {
  const SchedulerOptions& o = peer.o();
  const bool is_inverse = peer.is("DPMSolverMultistepInverseScheduler");
  DpmSigmas sigmas = read_dpm_sigmas(peer, FinalSigma::kTableMin);
  read_thresholding(peer);
  if (!is_inverse) {
    use_dpm_sigmas(peer, sigmas);
    peer.made.solver = import_dpm_solver(peer, sigmas.repeats_last(), sigmas.final == FinalSigma::kZero);
    return;
  }
  if (sigmas.is_straight)
    o.fail("use_flow_sigmas", "true does not invert: diffusers' inverse scheduler then runs towards the data too.");
  const DpmMethod method = read_method(peer);
  if (method.is_stochastic())
    o.fail("algorithm_type", concat(quoted(method.algorithm),
                                    " cannot be inverted: its noise would need the square root "
                                    "of a negative variance."));
  note_third_order(peer, method);
  OrderRule rule{.order = method.order, .lower_final = LowerOrderFinal::kNever};
  if (method.order > 1 && o.flag("lower_order_final")) rule.lower_final = LowerOrderFinal::kAuto;
  if (method.order > 1) rule.has_euler_at_final = o.flag("euler_at_final");
  use_dpm_sigmas(peer, sigmas);
  // Read on inverse_grid alone: a step of no length at the noisy end is left out, and counts in the order rule.
  peer.made.grid = [sigmas, options = peer.options](int steps) {
    return inverse_grid(sigmas, *options, steps).on(variance_preserving());
  };
  const bool repeats = sigmas.spans_table() || sigmas.rule.spacing == Spacing::kTrailing;
  rule.repeats_last_level = repeats;
  peer.made.solver = [method, rule](const Grid& grid) {
    return InverseWalk(grid, method, rule).run();
  };  // namespace thaw
  peer.section("sampler", "{type: ddim_inversion}");
  peer.inexact(
      "runs from the clean end towards noise with the multistep rule; the catalog's ddim_inversion is its "
      "order 1.");
}

void import_singlestep(Import& peer) {
  const SchedulerOptions& o = peer.o();
  const DpmSigmas sigmas = read_dpm_sigmas(peer, FinalSigma::kTableMin);
  read_thresholding(peer);
  const DpmMethod method = read_method(peer);
  if (method.algorithm == "sde-dpmsolver")
    o.fail("algorithm_type", "must be one of dpmsolver++, dpmsolver, sde-dpmsolver++, got \"sde-dpmsolver\".");
  expect_method(peer, method, sigmas.final == FinalSigma::kZero);
  if (!method.is_data() && peer.made.thresholding.kind != ImportedThresholding::Kind::kNone)
    o.fail("thresholding", "true fails in diffusers with algorithm_type \"dpmsolver\". Set it to false.");
  if (sigmas.repeats_last() && method.is_stochastic())
    o.fail("final_sigmas_type",
           "\"sigma_min\" repeats the last sigma of this sigma schedule; a stochastic step of no "
           "length is rounding noise. Use zero.");
  use_dpm_sigmas(peer, sigmas);
  if (sigmas.repeats_last()) {
    peer.inexact("the last step ends where it is, and starts from an earlier level where its order is above 1.");
    peer.made.grid = [sigmas, options = peer.options](int steps) {
      SigmaGrid made = sigmas.grid(*options, steps);
      if (made.repeats_last) made.end = made.sigmas.back() * (1.0 - 1e-13);
      made.repeats_last = false;
      return made.on(sigmas.path());
    };
  }
  const bool lowers = method.order > 1 && o.flag("lower_order_final");
  const bool has_fault = method.algorithm == "sde-dpmsolver++" && method.order == 3 && method.type == "heun";
  peer.made.solver = peer.sampler(
      concat("{type: ", method.is_data() ? "dpmpp_singlestep" : "dpm_singlestep", ", order: ", method.order,
             ", solver_type: ", method.type, ", lower_order_final: ", lowers ? "always" : "never",
             method.is_stochastic() ? ", tau2: 1" : "", has_fault ? ", compat: diffusers" : "", "}"));
  if (has_fault)
    peer.note(
        "order 3 heun of sde-dpmsolver++ has a wrong sign in the second difference: variance of order 1 "
        "(compat).");
}

}  // namespace thaw
