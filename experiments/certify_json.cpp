#include "core/base/version.h"
#include "experiments/certify.h"

namespace thaw {
namespace {

nlohmann::json json_of(const Claims& c) {
  return {{"order", c.order == 0 ? nlohmann::json() : nlohmann::json(c.order)},
          {"evaluations_per_step", c.evaluations_per_step},
          {"extra_evaluations", c.extra_evaluations},
          {"breaks_marginals", c.breaks_marginals},
          {"path_bound", c.is_path_bound}};
}

nlohmann::json json_of(const MeasuredOrder& o) {
  return {{"karras", o.karras},
          {"uniform_lambda", o.uniform_lambda},
          {"line_mixture", o.line_mixture},
          {"plane_mixture", o.plane_mixture},
          {"prescribed", o.prescribed},
          {"strong", o.strong},
          {"lowest", o.lowest()}};
}

nlohmann::json json_of(const CertifiedSampler& s) {
  const Certificate& c = s.certificate;
  nlohmann::json budgets = nlohmann::json::array();
  for (const BudgetError& b : c.budgets)
    budgets.push_back({{"evaluations", b.budget}, {"steps", b.steps}, {"spread_error", b.spread}, {"w2", b.w2}});
  nlohmann::json exactness;
  if (c.has_exactness()) exactness = {{"degree", c.exactness.degree}, {"family", c.exactness.family}};
  return {{"name", s.variant.name},
          {"sampler", s.variant.sampler},
          {"summary", s.variant.info->summary},
          {"source", s.variant.info->source},
          {"traits", s.variant.info->traits},
          {"passes", c.passes()},
          {"failures", c.failures},
          {"refusals", c.refusals},
          {"same_as", s.same_as.empty() ? nlohmann::json() : nlohmann::json(s.same_as)},
          {"without_noise", s.without_noise.empty() ? nlohmann::json() : nlohmann::json(s.without_noise)},
          {"claims", json_of(c.claims)},
          {"stochastic", c.is_stochastic},
          {"evaluations_20_steps", c.evaluations},
          {"evaluations_20_steps_clean", c.evaluations_clean},
          {"registers", c.registers},
          {"bodies", c.bodies},
          {"point_mass", c.point_mass},
          {"path_gap", c.path_gap},
          {"exactness", exactness},
          {"order", json_of(c.order)},
          {"budgets", budgets},
          {"variance_10_50_250", c.variance},
          {"stability_6_10", c.stability},
          {"amplification", c.amplification},
          {"float32", c.float32}};
}

nlohmann::json json_of(const CertifiedAdaptive& s) {
  nlohmann::json runs = nlohmann::json::array();
  for (const AdaptiveRun& run : s.certificate.runs)
    runs.push_back({{"tolerance", run.tolerance}, {"evaluations", run.evaluations}, {"error", run.error}});
  return {{"name", s.variant.name},
          {"summary", s.variant.info->summary},
          {"source", s.variant.info->source},
          {"traits", s.variant.info->traits},
          {"claims", json_of(s.variant.claims)},
          {"passes", s.certificate.passes()},
          {"failures", s.certificate.failures},
          {"runs", runs},
          {"tolerance_slope", s.certificate.tolerance_slope},
          {"evaluation_slope", s.certificate.evaluation_slope}};
}

nlohmann::json json_of(const Identity& i) {
  return {{"left", i.left},       {"right", i.right},       {"claims_equal", i.claims_equal},
          {"because", i.because}, {"distance", i.distance}, {"bound", i.bound},
          {"known", i.is_known},  {"holds", i.holds()}};
}

}  // namespace

nlohmann::json certificate_json(const CertificateSet& set) {
  nlohmann::json samplers = nlohmann::json::array(), identities = nlohmann::json::array();
  for (const CertifiedSampler& s : set.samplers) samplers.push_back(json_of(s));
  for (const Identity& i : set.identities) identities.push_back(json_of(i));
  nlohmann::json adaptive = nlohmann::json::array();
  for (const CertifiedAdaptive& s : set.adaptive) adaptive.push_back(json_of(s));
  return {{"command", set.command},
          {"version", std::string(version())},
          {"samplers", samplers},
          {"adaptive", adaptive},
          {"identities", identities},
          {"failed_samplers", set.failed_samplers()},
          {"unmeasured_samplers", set.unmeasured_samplers()},
          {"failed_identities", set.failed_identities()}};
}

}  // namespace thaw
