#include <array>
#include <cmath>
#include <cstdio>

#include "core/base/text.h"
#include "experiments/certify.h"

namespace thaw {
namespace {

std::string padded(std::string text, int width) {  // negative: flush left
  const auto size = static_cast<std::size_t>(std::abs(width));
  if (text.size() >= size) return text;
  const std::string space(size - text.size(), ' ');
  return width < 0 ? text + space : space + text;
}

std::string printed(const char* format, double value) {
  if (!std::isfinite(value)) return "-";
  std::array<char, 32> buffer;
  std::snprintf(buffer.data(), buffer.size(), format, value);
  return buffer.data();
}
std::string slope(double value) {
  return padded(printed(value < -9.99 ? "%.0f" : "%.2f", value), 6);
}
std::string error(double value) {
  return padded(printed("%.1e", value), 9);
}
std::string signed_error(double value) {
  return padded(printed("%+.2e", value), 11);
}
std::string ratio(double value) {
  return padded(value < 1e3 ? printed("%.2f", value) : printed("%.0e", value), 8);
}

std::string verdict(const CertifiedSampler& s) {
  if (!s.certificate.passes()) return "  FAILS";
  return s.same_as.empty() ? "" : "  = " + s.same_as;
}

std::string counts(const CertifiedSampler& s) {
  const Certificate& c = s.certificate;
  return concat(padded(s.variant.name, -38), padded(c.claims.order == 0 ? "-" : concat(c.claims.order), 3),
                padded(concat(c.evaluations), 5), padded(concat(c.registers), 4));
}

std::string budget_errors(const Certificate& c) {
  std::string line;
  for (const BudgetError& budget : c.budgets)
    if (budget.budget > 5) line += error(budget.spread);
  return line;
}

std::string ordinary_line(const CertifiedSampler& s) {
  const Certificate& c = s.certificate;
  return concat(counts(s), slope(c.order.karras), slope(c.order.uniform_lambda), slope(c.order.line_mixture),
                slope(c.order.plane_mixture), padded(c.has_exactness() ? concat(c.exactness.degree) : "-", 4),
                budget_errors(c), ratio(c.stability[0]), ratio(c.stability[1]), verdict(s), "\n");
}

std::string stochastic_line(const CertifiedSampler& s) {
  const Certificate& c = s.certificate;
  std::string line = concat(counts(s), slope(c.order.karras), slope(c.order.uniform_lambda), slope(c.order.strong));
  for (const double variance : c.variance) line += signed_error(variance);
  line += concat(budget_errors(c), ratio(c.stability[0]), ratio(c.stability[1]), verdict(s));
  return line + (s.without_noise.empty() ? "\n" : concat("  (quiet: ", s.without_noise, ")\n"));
}

std::string tables(const CertificateSet& set) {
  std::string ordinary, stochastic;
  for (const CertifiedSampler& s : set.samplers)
    (s.certificate.is_stochastic ? stochastic : ordinary) +=
        s.certificate.is_stochastic ? stochastic_line(s) : ordinary_line(s);
  const std::string head = concat(padded("", -38), padded("ord", 3), padded("nfe", 5), padded("reg", 4));
  const std::string few = "  gain 6 gain 10";
  std::string text;
  if (!ordinary.empty())
    text += concat(head, "  karr  even  line plane deg", "    at 10    at 20    at 50", few, "\n", ordinary, "\n");
  if (!stochastic.empty())
    text += concat(head, "  karr  even strng     var 10     var 50    var 250", "    at 10    at 20    at 50", few,
                   "\n", stochastic, "\n");
  if (!set.adaptive.empty())
    text += concat(padded("chooses its steps; tolerance: evaluations, error", -48), " tol^  nfe^\n");
  for (const CertifiedAdaptive& s : set.adaptive) {
    text += padded(s.variant.name, -24);
    for (const AdaptiveRun& run : s.certificate.runs)
      text += concat("  ", printed("%.0e", run.tolerance), ":", padded(concat(run.evaluations), 5), error(run.error));
    text += s.certificate.runs.empty()
                ? "  has no tolerance or draws noise: not measured\n"
                : concat(slope(s.certificate.tolerance_slope), slope(s.certificate.evaluation_slope),
                         s.certificate.passes() ? "\n" : "  FAILS\n");
  }
  return text +
         "\n"
         "ord: order claimed. nfe: evaluations of 20 steps. reg: state-sized tensors. karr, even, line, plane: slopes "
         "of "
         "the error\non a Gaussian (Karras and even-lambda grid), on a mixture on the line and in the plane; strng: on "
         "one "
         "Brownian path.\ndeg: predictions of this degree are integrated exactly. at N: relative error of the standard "
         "deviation with N evaluations.\nvar N: relative variance error of N steps. gain N: worst amplification over "
         "data spreads with N steps.\n";
}

}  // namespace

std::string certificate_text(const CertificateSet& set) {
  std::string text = tables(set);
  for (const CertifiedSampler& s : set.samplers)
    for (const std::string& failure : s.certificate.failures)
      text += concat("FAILS ", s.variant.name, ": ", failure, "\n");
  for (const CertifiedAdaptive& s : set.adaptive)
    for (const std::string& failure : s.certificate.failures)
      text += concat("FAILS ", s.variant.name, ": ", failure, "\n");
  for (const CertifiedSampler& s : set.samplers)
    for (const std::string& refusal : s.certificate.refusals) text += concat("refuses: ", refusal, "\n");
  for (const Identity& i : set.identities)
    if (!i.holds())
      text += concat("FAILS ", i.left, i.claims_equal ? " = " : " differs from ", i.right, ": ",
                     i.is_known ? concat("distance ", format_short(i.distance, 3)) : "not in the catalog", "\n");
  text += concat(set.samplers.size() + set.adaptive.size() - set.unmeasured_samplers(), " certificates, ",
                 set.failed_samplers(), " fail, ", set.unmeasured_samplers(), " not measured");
  if (!set.identities.empty())
    text += concat("; ", set.identities.size(), " identities, ", set.failed_identities(), " fail");
  return text + ".\n";
}

}  // namespace thaw
