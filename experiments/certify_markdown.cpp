#include <array>
#include <cmath>
#include <cstdio>

#include "core/base/text.h"
#include "experiments/certify.h"

namespace thaw {
namespace {

std::string printed(const char* format, double value) {
  if (!std::isfinite(value)) return "-";
  std::array<char, 32> buffer;
  std::snprintf(buffer.data(), buffer.size(), format, value);
  return buffer.data();
}
std::string slope(double value) {
  return printed("%.2f", value);
}

/// A row of a table; a bar inside a cell would end it.
std::string row(const std::vector<std::string>& cells) {
  std::string line = "|";
  for (std::string cell : cells) {
    for (std::size_t at = cell.find('|'); at != std::string::npos; at = cell.find('|', at + 2)) cell.insert(at, "\\");
    line += concat(" ", cell, " |");
  }
  return line + "\n";
}

std::string header(const std::vector<std::string>& names) {
  return row(names) + row(std::vector<std::string>(names.size(), "---"));
}

std::string named(const std::string& name) {
  return concat("`", name, "`");
}

std::string claimed_order(const Certificate& c) {
  return c.claims.order == 0 ? "-" : concat(c.claims.order);
}

std::string at_budget(const Certificate& c, int budget) {
  for (const BudgetError& b : c.budgets)
    if (b.budget == budget) return printed("%.1e", b.spread);
  return "-";
}

std::string remark(const CertifiedSampler& s) {
  const Certificate& c = s.certificate;
  std::vector<std::string> parts;
  if (!s.same_as.empty()) parts.push_back(concat("the same as ", named(s.same_as)));
  if (c.claims.breaks_marginals) parts.push_back(concat("moves a point mass by ", printed("%.1e", c.point_mass)));
  if (c.claims.is_path_bound) parts.push_back("another method on each path");
  if (!s.without_noise.empty()) parts.push_back(concat("without noise ", named(s.without_noise)));
  for (const std::string& failure : c.failures) parts.push_back(concat("**fails**: ", failure));
  return join(parts, "; ");
}

std::string ordinary_rows(const CertificateSet& set) {
  std::string text;
  for (const CertifiedSampler& s : set.samplers) {
    const Certificate& c = s.certificate;
    if (c.is_stochastic) continue;
    const std::string family = c.exactness.degree < 0 ? "" : ", " + c.exactness.family;
    const std::string exact = c.has_exactness() ? concat(c.exactness.degree, family) : "-";
    text += row({named(s.variant.name), claimed_order(c), slope(c.order.karras), slope(c.order.uniform_lambda),
                 slope(c.order.line_mixture), slope(c.order.plane_mixture), exact, concat(c.evaluations),
                 concat(c.registers), at_budget(c, 5), at_budget(c, 10), at_budget(c, 20), at_budget(c, 50),
                 concat(printed("%.3g", c.stability[0]), " ", printed("%.3g", c.stability[1])),
                 printed("%.0e", c.float32), remark(s)});
  }
  return text;
}

std::string stochastic_rows(const CertificateSet& set) {
  std::string text;
  for (const CertifiedSampler& s : set.samplers) {
    const Certificate& c = s.certificate;
    if (!c.is_stochastic) continue;
    text += row({named(s.variant.name), claimed_order(c), slope(c.order.karras), slope(c.order.uniform_lambda),
                 slope(c.order.strong), concat(c.evaluations), concat(c.registers), printed("%+.2e", c.variance[0]),
                 printed("%+.2e", c.variance[1]), printed("%+.2e", c.variance[2]), at_budget(c, 10), at_budget(c, 20),
                 at_budget(c, 50), concat(printed("%.3g", c.stability[0]), " ", printed("%.3g", c.stability[1])),
                 remark(s)});
  }
  return text;
}

std::string adaptive_rows(const CertificateSet& set) {
  std::string text;
  for (const CertifiedAdaptive& s : set.adaptive) {
    if (s.certificate.runs.empty()) continue;
    std::vector<std::string> cells{named(s.variant.name)};
    for (const AdaptiveRun& run : s.certificate.runs)
      cells.push_back(concat(run.evaluations, ": ", printed("%.1e", run.error)));
    while (cells.size() < 6) cells.push_back("-");
    cells.push_back(slope(s.certificate.tolerance_slope));
    cells.push_back(slope(s.certificate.evaluation_slope));
    cells.push_back(join(s.certificate.failures, "; "));
    text += row(cells);
  }
  return text;
}

std::string identity_rows(const CertificateSet& set) {
  std::string text;
  for (const Identity& i : set.identities)
    text += row({concat(named(i.left), i.claims_equal ? " = " : " differs from ", named(i.right)), i.because,
                 i.is_known ? printed("%.1e", i.distance) : "not in the catalog",
                 concat(i.claims_equal ? "<= " : ">= ", printed("%.0e", i.bound)), i.holds() ? "yes" : "**no**"});
  return text;
}

std::string finding_rows(const CertificateSet& set) {
  std::string text;
  for (const FindingRow& r : set.findings()) {
    const std::string more = r.names.size() > 1 ? concat(" and ", r.names.size() - 1, " more of its variants") : "";
    text += row({named(r.names.front()) + more, concat(r.finding.property, " ", r.finding.claimed), r.finding.measured,
                 r.finding.because});
  }
  return text;
}

std::string variance_rows(const CertificateSet& set) {
  std::string text;
  for (const CertifiedAdaptive& s : set.adaptive)
    for (const VarianceRun& run : s.certificate.by_steps)
      text += concat("* ", named(s.variant.name), ", ", run.steps, " steps: ", run.evaluations,
                     " evaluations, variance off by ", printed("%+.2e", run.error), " on N(0, 0.5^2)\n");
  for (const CertifiedAdaptive& s : set.adaptive)
    for (const VarianceLaw& law : s.certificate.laws)
      text += concat("* ", named(s.variant.name), ": ", law.statement, ": ", format_short(law.exact, 6), ", measured ",
                     format_short(law.measured, 6), "\n");
  for (const CertifiedSampler& s : set.samplers)
    for (const LearnedVariance& l : s.certificate.learned)
      text += concat("* ", named(s.variant.name), " held at v = ", l.v, ": variance off by ",
                     printed("%+.2e", l.variance[0]), ", ", printed("%+.2e", l.variance[1]), ", ",
                     printed("%+.2e", l.variance[2]), " after 10, 50, 250 steps\n");
  return text.empty() ? "" : concat("\n", text);
}

std::string catalog_rows(const CertificateSet& set) {
  std::string text;
  for (const CertifiedAdaptive& s : set.adaptive)
    if (s.variant.name == s.variant.info->name)
      text += row({named(s.variant.info->name), s.variant.info->summary, s.variant.info->source});
  const EntryInfo* last = nullptr;
  for (const CertifiedSampler& s : set.samplers) {
    const EntryInfo* info = s.variant.info;
    if (info == last) continue;
    last = info;
    text += row({named(info->name), info->summary, info->source});
  }
  return text;
}

constexpr const char* kHowToRead =
    "## How to read it\n\n"
    "The order claimed comes from the source named; everything else is computed, without sampling: a solver is a list\n"
    "of weighted sums, so that Gaussian moments pass through it exactly. A certificate fails where a measurement\n"
    "contradicts a claim that the entry does not own up to, and `thaw certify` then ends with exit code 1. What it "
    "does\n"
    "own up to is a finding: the order it names was written down after measuring, and guards against change.\n\n"
    "* Gaussian: slope of the rms relative error of the standard deviation (with noise: the weak order) over data\n"
    "  spreads 0.1, 0.25, 0.5, 1, 2 between sigma / alpha = 80 and 0.002, on the Karras grid (rho 7) and on one "
    "uniform\n"
    "  in lambda (from 2000). One window for all, whatever the claim: 128, 256, 512 and 1024 steps. A spread whose "
    "error\n"
    "  changes sign within it is left out; with three of five left out the slope says nothing.\n"
    "* Line, plane: slopes on 0.3 N(-1, 0.25^2) + 0.7 N(0.8, 0.4^2), where the exact end is a quantile map, and on "
    "three\n"
    "  Gaussians in the plane. The order is the lowest slope; the band is 0.15.\n"
    "* Exact: predictions that are polynomials of this degree are integrated to 1e-11.\n"
    "* Evaluations and state-sized tensors are those of 20 steps.\n"
    "* At N: relative error of the standard deviation, rms over the five spreads, with at most N evaluations.\n"
    "* Gain: largest amplification over data spreads from 0.001 to 30 with 6 and with 10 steps; 1 is exact.\n"
    "* Float32: largest difference that float32 states and weights make in 100 steps.\n"
    "* Variance N: signed relative error on N(0, 0.5^2) after N steps of the Karras grid.\n"
    "* Strong: slope of the rms difference to 1024 steps on the same Brownian path.\n\n";

}  // namespace

std::string certificate_markdown(const CertificateSet& set) {
  std::string text = concat("# Samplers and their certificates\n\nWritten by `", set.command,
                            " out=docs/samplers.md`; not edited by hand.\n\n");
  text += concat("## Findings\n\nWhere the literature, or a name, says one thing and the measurement another: ",
                 set.samplers.size() + set.adaptive.size(), " certificates, ", set.failed_samplers(),
                 " of them fail.\n", "Slopes are over 128 to 1024 steps; ", set.left_out(),
                 " data spreads were left out of them for a change of sign, ", set.silent_slopes(),
                 " slopes say nothing.\n\n", header({"sampler", "literature", "measured", "why"}), finding_rows(set),
                 "\n", kHowToRead);
  text += "## What there is\n\n" + header({"sampler", "what it is", "source"}) + catalog_rows(set);
  text += "\n## Without noise\n\n" +
          header({"sampler", "order", "Gaussian, Karras", "Gaussian, lambda", "line", "plane", "exact", "evaluations",
                  "tensors", "at 5", "at 10", "at 20", "at 50", "gain 6, 10", "float32", "remarks"}) +
          ordinary_rows(set);
  text += "\n## With noise\n\n" +
          header({"sampler", "order", "Gaussian, Karras", "Gaussian, lambda", "strong", "evaluations", "tensors",
                  "variance 10", "variance 50", "variance 250", "at 10", "at 20", "at 50", "gain 6, 10", "remarks"}) +
          stochastic_rows(set);
  if (!set.adaptive.empty())
    text +=
        "\n## Steps of their own\n\nEvaluations and error on the mixture on the line at each tolerance (`picard`: "
        "against the first-order steps it\niterates to; with noise: signed, of the variance on N(0, 0.5^2)), and the "
        "powers of tolerance and of evaluations that\nthe error falls with.\n\n" +
        header({"sampler", "1e-2", "1e-3", "1e-4", "1e-5", "1e-6", "tolerance", "evaluations", "remarks"}) +
        adaptive_rows(set) + variance_rows(set);
  if (!set.identities.empty())
    text +=
        "\n## Identities\n\nDistances are the largest absolute difference of normal forms (every evaluation and the\n"
        "output as a weighted sum of start, predictions and noise).\n\n" +
        header({"statement", "why", "distance", "bound", "holds"}) + identity_rows(set);
  return text;
}

}  // namespace thaw
