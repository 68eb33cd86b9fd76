#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "core/base/text.h"
#include "experiments/certify.h"

namespace thaw {
namespace {

constexpr int kNameWidth = 38;
constexpr std::size_t kLineWidth = 150;

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

// One mark at the end of a row; what it stands for is told below the tables.
std::string mark(const CertifiedSampler& s) {
  if (!s.certificate.passes()) return " F";
  if (!s.certificate.findings.empty()) return " f";
  return s.same_as.empty() ? "" : " =";
}

std::string counts(const CertifiedSampler& s) {
  const Certificate& c = s.certificate;
  const bool is_long = s.variant.name.size() > kNameWidth;  // then it has a line of its own
  return concat(is_long ? s.variant.name + "\n" : "", padded(is_long ? "" : s.variant.name, -kNameWidth),
                padded(c.claims.order == 0 ? "-" : concat(c.claims.order), 3), padded(concat(c.evaluations), 5),
                padded(concat(c.registers), 4));
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
                budget_errors(c), ratio(c.stability[0]), ratio(c.stability[1]), mark(s), "\n");
}

std::string stochastic_line(const CertifiedSampler& s) {
  const Certificate& c = s.certificate;
  std::string line = concat(counts(s), slope(c.order.karras), slope(c.order.uniform_lambda), slope(c.order.strong));
  for (const double variance : c.variance) line += signed_error(variance);
  return concat(line, budget_errors(c), ratio(c.stability[0]), ratio(c.stability[1]), mark(s), "\n");
}

std::string adaptive_line(const CertifiedAdaptive& s) {
  const AdaptiveCertificate& c = s.certificate;
  std::string line = padded(s.variant.name, -24);
  for (const AdaptiveRun& run : c.runs)
    line += concat(" ", printed("%.0e", run.tolerance), ":", padded(concat(run.evaluations), 5),
                   padded(printed("%.1e", run.error), 9));
  if (!c.runs.empty()) line += slope(c.tolerance_slope) + slope(c.evaluation_slope);
  for (const VarianceRun& run : c.by_steps)
    line += concat("  ", run.steps, " steps:", padded(concat(run.evaluations), 5), signed_error(run.error));
  return line + (c.passes() ? "\n" : " F\n");
}

/// "= ddim: dpmpp_1s, euler", a line a method.
std::string same_methods(const CertificateSet& set) {
  std::vector<std::pair<std::string, std::vector<std::string>>> classes;
  for (const CertifiedSampler& s : set.samplers) {
    if (s.same_as.empty()) continue;
    auto found = std::find_if(classes.begin(), classes.end(), [&](auto& one) { return one.first == s.same_as; });
    if (found == classes.end()) found = classes.insert(classes.end(), {s.same_as, {}});
    found->second.push_back(s.variant.name);
  }
  std::string text;
  for (const auto& [first, names] : classes) {
    std::string line = concat("= ", first, ":");
    for (const std::string& name : names) {
      if (line.size() + name.size() + 2 > kLineWidth) {
        text += line + "\n";
        line = "   ";
      }
      line += concat(" ", name, name == names.back() ? "" : ",");
    }
    text += line + "\n";
  }
  return text;
}

/// Laws that hold and the ends of learned variances: what has no column.
std::string asides(const CertificateSet& set) {
  std::string text;
  for (const CertifiedSampler& s : set.samplers)
    for (const LearnedVariance& l : s.certificate.learned)
      text += concat(s.variant.name, " at v = ", l.v, ": variance", signed_error(l.variance[0]),
                     signed_error(l.variance[1]), signed_error(l.variance[2]), "\n");
  for (const CertifiedAdaptive& s : set.adaptive)
    for (const VarianceLaw& law : s.certificate.laws)
      text += concat(s.variant.name, ": ", law.statement, ": ", format_short(law.exact, 6), ", measured ",
                     format_short(law.measured, 6), "\n");
  return text;
}

std::string findings(const CertificateSet& set) {
  std::string text;
  for (const FindingRow& row : set.findings())
    text += concat("finding ", row.names.front(),
                   row.names.size() > 1 ? concat(" (and ", row.names.size() - 1, " more)") : "", ": ",
                   row.finding.property, ": literature ", row.finding.claimed, ", measured ", row.finding.measured,
                   ": ", row.finding.because, "\n");
  return text;
}

std::string tables(const CertificateSet& set) {
  std::string ordinary, stochastic;
  for (const CertifiedSampler& s : set.samplers)
    (s.certificate.is_stochastic ? stochastic : ordinary) +=
        s.certificate.is_stochastic ? stochastic_line(s) : ordinary_line(s);
  const std::string head = concat(padded("", -kNameWidth), padded("ord", 3), padded("nfe", 5), padded("reg", 4));
  const std::string few = "  gain 6 gain 10";
  std::string text;
  if (!ordinary.empty())
    text += concat(head, "  karr  even  line plane deg", "    at 10    at 20    at 50", few, "\n", ordinary, "\n");
  if (!stochastic.empty())
    text += concat(head, "  karr  even strng     var 10     var 50    var 250", "    at 10    at 20    at 50", few,
                   "\n", stochastic, "\n");
  if (!set.adaptive.empty())
    text +=
        "chooses its steps; tolerance: evaluations, error (with noise: of the variance); tol^, nfe^: powers it falls "
        "with\n";
  for (const CertifiedAdaptive& s : set.adaptive) text += adaptive_line(s);
  return text +
         "\n"
         "ord: order claimed. nfe: evaluations of 20 steps. reg: state-sized tensors. karr, even, line, plane: slopes "
         "of "
         "the error\non a Gaussian (Karras and even-lambda grid), on a mixture on the line and in the plane; strng: on "
         "one "
         "Brownian path.\ndeg: predictions of this degree are integrated exactly. at N: relative error of the standard "
         "deviation with N evaluations.\nvar N: relative variance error of N steps. gain N: worst amplification over "
         "data spreads with N steps.\nF: fails. f: a finding, below. =: another name of a method, below.\n";
}

}  // namespace

std::string certificate_text(const CertificateSet& set) {
  std::string text = concat(tables(set), asides(set), same_methods(set), findings(set));
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
                 set.failed_samplers(), " fail, ", set.findings().size(), " findings, ", set.unmeasured_samplers(),
                 " not measured");
  if (!set.identities.empty())
    text += concat("; ", set.identities.size(), " identities, ", set.failed_identities(), " fail");
  text += concat(".\nLeft out of slopes: ", set.left_out(), " data spreads that change sign; ", set.silent_slopes(),
                 " slopes say nothing");
  return text + ".\n";
}

}  // namespace thaw
