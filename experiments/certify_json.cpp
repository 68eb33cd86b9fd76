#include <cmath>

#include "core/base/version.h"
#include "experiments/certify.h"

namespace thaw {
namespace {

nlohmann::json json_of(const Claims& c) {
  return {{"order", c.order == 0 ? nlohmann::json() : nlohmann::json(c.order)},
          {"evaluations_per_step", c.evaluations_per_step},
          {"extra_evaluations", c.extra_evaluations},
          {"breaks_marginals", c.breaks_marginals},
          {"path_bound", c.is_path_bound},
          {"owned_order",
           c.owned_order == 0.0 || std::isinf(c.owned_order) ? nlohmann::json() : nlohmann::json(c.owned_order)},
          {"diverges", c.owned_order == kDiverges}};
}

nlohmann::json json_of(const Finding& f) {
  return {{"property", f.property}, {"literature", f.claimed}, {"measured", f.measured}, {"because", f.because}};
}

nlohmann::json json_of(const LearnedVariance& l) {
  return {{"v", l.v}, {"variance_10_50_250", l.variance}, {"point_mass", l.point_mass}};
}

nlohmann::json json_of(const MeasuredOrder& o) {
  return {{"karras", o.karras},
          {"uniform_lambda", o.uniform_lambda},
          {"line_mixture", o.line_mixture},
          {"plane_mixture", o.plane_mixture},
          {"prescribed", o.prescribed},
          {"strong", o.strong},
          {"lowest", o.lowest()},
          {"spreads_left_out", o.left_out},
          {"silent_slopes", o.silent}};
}

nlohmann::json json_of(const CertifiedSampler& s) {
  const Certificate& c = s.certificate;
  nlohmann::json budgets = nlohmann::json::array();
  for (const BudgetError& b : c.budgets)
    budgets.push_back({{"evaluations", b.budget}, {"steps", b.steps}, {"spread_error", b.spread}, {"w2", b.w2}});
  nlohmann::json exactness, findings = nlohmann::json::array(), learned = nlohmann::json::array();
  for (const Finding& f : c.findings) findings.push_back(json_of(f));
  for (const LearnedVariance& l : c.learned) learned.push_back(json_of(l));
  if (c.has_exactness()) exactness = {{"degree", c.exactness.degree}, {"family", c.exactness.family}};
  return {{"name", s.variant.name},
          {"sampler", s.variant.sampler},
          {"summary", s.variant.info->summary},
          {"source", s.variant.info->source},
          {"traits", s.variant.info->traits},
          {"passes", c.passes()},
          {"failures", c.failures},
          {"findings", findings},
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
          {"learned_variance", learned},
          {"stability_6_10", c.stability},
          {"amplification", c.amplification},
          {"float32", c.float32}};
}

nlohmann::json json_of(const CertifiedAdaptive& s) {
  nlohmann::json runs = nlohmann::json::array();
  for (const AdaptiveRun& run : s.certificate.runs)
    runs.push_back({{"tolerance", run.tolerance}, {"evaluations", run.evaluations}, {"error", run.error}});
  nlohmann::json by_steps = nlohmann::json::array(), laws = nlohmann::json::array();
  for (const VarianceRun& run : s.certificate.by_steps)
    by_steps.push_back({{"steps", run.steps}, {"evaluations", run.evaluations}, {"variance_error", run.error}});
  for (const VarianceLaw& law : s.certificate.laws)
    laws.push_back(
        {{"statement", law.statement}, {"measured", law.measured}, {"exact", law.exact}, {"holds", law.holds()}});
  return {{"name", s.variant.name},
          {"summary", s.variant.info->summary},
          {"source", s.variant.info->source},
          {"traits", s.variant.info->traits},
          {"claims", json_of(s.variant.claims)},
          {"passes", s.certificate.passes()},
          {"failures", s.certificate.failures},
          {"stochastic", s.certificate.is_stochastic},
          {"runs", runs},
          {"by_steps", by_steps},
          {"laws", laws},
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
          {"failed_identities", set.failed_identities()},
          {"spreads_left_out", set.left_out()},
          {"silent_slopes", set.silent_slopes()}};
}

}  // namespace thaw
