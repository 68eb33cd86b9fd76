#include <algorithm>
#include <cmath>

#include "core/base/text.h"
#include "core/base/version.h"
#include "experiments/certify.h"
#include "experiments/report_assets.h"
#include "experiments/report_html.h"
#include "experiments/report_plots.h"

namespace thaw {
namespace {

using namespace report;

constexpr std::string_view kCertificateStyle = R"css(
main { max-width: 96rem; }
.certificates { font-size: .82rem; white-space: nowrap; }
.certificates th, .certificates td { padding: .3rem 1rem .3rem 0; }
.certificates tbody th { font-family: var(--mono); font-size: .8rem; position: sticky; left: 0;
  background: var(--paper); }
.certificates td { text-align: right; }
.certificates thead th { text-align: right; }
.certificates thead th:first-child, .certificates td:last-child, .certificates thead th:last-child { text-align: left; }
.certificates td:last-child { white-space: normal; min-width: 16rem; color: var(--soft); }
.certificates .off { color: var(--s2); font-weight: 600; }
.certificates .same > * { opacity: .66; }
)css";

std::string cell(double value, int digits = 3) {
  if (!std::isfinite(value)) return "<td></td>";
  return concat("<td><data value=\"", format_double(value), "\">", format_short(value, digits), "</data></td>");
}

// A slope is marked where it is below the claim: a failure or a finding.
std::string slope_cell(double value, int claim) {
  if (!std::isfinite(value)) return "<td></td>";
  const bool is_off = claim > 0 && value < claim - kSlopeBand;
  return concat("<td", is_off ? " class=\"off\"" : "", "><data value=\"", format_double(value), "\">",
                format_short(value, 3), "</data></td>");
}

std::string text_cell(const std::string& text) {
  return concat("<td>", escape(text), "</td>");
}

std::string head(const std::vector<std::string>& names) {
  std::string html = "<thead><tr>";
  for (const std::string& name : names) html += concat("<th scope=\"col\">", escape(name), "</th>");
  return html + "</tr></thead>\n";
}

std::string remark(const CertifiedSampler& s) {
  std::vector<std::string> parts;
  for (const std::string& failure : s.certificate.failures)
    parts.push_back(concat("<span class=\"off\">fails: ", escape(failure), "</span>"));
  if (!s.same_as.empty()) parts.push_back(concat("the same as ", escape(s.same_as)));
  if (s.certificate.claims.breaks_marginals)
    parts.push_back(concat("moves a point mass by ", format_short(s.certificate.point_mass, 2)));
  if (s.certificate.claims.is_path_bound) parts.push_back("another method on each path");
  if (!s.without_noise.empty()) parts.push_back(concat("without noise ", escape(s.without_noise)));
  return concat("<td>", join(parts, "; "), "</td>");
}

std::string row_start(const CertifiedSampler& s) {
  const Certificate& c = s.certificate;
  return concat("<tr", s.same_as.empty() ? "" : " class=\"same\"", "><th scope=\"row\" title=\"",
                escape(s.variant.info->summary), "\">", escape(s.variant.name), "</th>",
                text_cell(c.claims.order == 0 ? "" : concat(c.claims.order)));
}

std::string counts(const Certificate& c) {
  std::string html = concat(text_cell(concat(c.evaluations)), text_cell(concat(c.registers)));
  for (const BudgetError& budget : c.budgets) html += cell(budget.spread);
  return html + cell(c.stability[0]) + cell(c.stability[1]);
}

std::string ordinary_table(const CertificateSet& set) {
  std::string html = head({"sampler", "order", "Karras", "lambda", "line", "plane", "exact", "evaluations", "tensors",
                           "at 5", "at 10", "at 20", "at 50", "gain 6", "gain 10", "float32", "remarks"}) +
                     "<tbody>\n";
  for (const CertifiedSampler& s : set.samplers) {
    const Certificate& c = s.certificate;
    if (c.is_stochastic) continue;
    const int claim = c.claims.order;
    html += concat(row_start(s), slope_cell(c.order.karras, claim), slope_cell(c.order.uniform_lambda, claim),
                   slope_cell(c.order.line_mixture, claim), slope_cell(c.order.plane_mixture, claim),
                   concat("<td title=\"", escape(c.exactness.family), "\">",
                          c.has_exactness() ? concat(c.exactness.degree) : "", "</td>"),
                   counts(c), cell(c.float32, 2), remark(s), "</tr>\n");
  }
  return html + "</tbody>";
}

std::string stochastic_table(const CertificateSet& set) {
  std::string html =
      head({"sampler", "order", "Karras", "lambda", "strong", "variance 10", "variance 50", "variance 250",
            "evaluations", "tensors", "at 5", "at 10", "at 20", "at 50", "gain 6", "gain 10", "remarks"}) +
      "<tbody>\n";
  for (const CertifiedSampler& s : set.samplers) {
    const Certificate& c = s.certificate;
    if (!c.is_stochastic) continue;
    html += concat(row_start(s), slope_cell(c.order.karras, c.claims.order),
                   slope_cell(c.order.uniform_lambda, c.claims.order), cell(c.order.strong));
    for (const double variance : c.variance) html += cell(variance);
    html += concat(counts(c), remark(s), "</tr>\n");
  }
  return html + "</tbody>";
}

/// Of a method without a tolerance.
std::string variances(const AdaptiveCertificate& c) {
  std::vector<std::string> parts;
  for (const VarianceRun& run : c.by_steps)
    parts.push_back(concat("variance off by ", format_short(run.error, 3), " after ", run.steps, " steps"));
  for (const VarianceLaw& law : c.laws)
    parts.push_back(
        concat(law.statement, ": ", format_short(law.exact, 4), ", measured ", format_short(law.measured, 4)));
  for (const std::string& failure : c.failures) parts.push_back(concat("fails: ", failure));
  return join(parts, "; ");
}

std::string findings_table(const CertificateSet& set) {
  std::string html = head({"sampler", "literature", "measured", "why"}) + "<tbody>\n";
  for (const FindingRow& row : set.findings())
    html += concat("<tr><th scope=\"row\">", escape(row.names.front()),
                   row.names.size() > 1 ? concat(" and ", row.names.size() - 1, " more") : "", "</th>",
                   text_cell(concat(row.finding.property, " ", row.finding.claimed)), text_cell(row.finding.measured),
                   text_cell(row.finding.because), "</tr>\n");
  return html + "</tbody>";
}

std::string adaptive_table(const CertificateSet& set) {
  std::string html =
      head({"sampler", "1e-2", "1e-3", "1e-4", "1e-5", "1e-6", "tolerance", "evaluations", "remarks"}) + "<tbody>\n";
  for (const CertifiedAdaptive& s : set.adaptive) {
    html += concat("<tr><th scope=\"row\" title=\"", escape(s.variant.info->summary), "\">", escape(s.variant.name),
                   "</th>");
    for (std::size_t i = 0; i < 5; ++i) {
      const bool has_run = i < s.certificate.runs.size();
      html += text_cell(
          has_run ? concat(s.certificate.runs[i].evaluations, ": ", format_short(s.certificate.runs[i].error, 2)) : "");
    }
    if (s.certificate.runs.empty())
      html += concat("<td></td><td></td>", text_cell(variances(s.certificate)), "</tr>\n");
    else
      html += concat(cell(s.certificate.tolerance_slope), cell(s.certificate.evaluation_slope),
                     text_cell(join(s.certificate.failures, "; ")), "</tr>\n");
  }
  return html + "</tbody>";
}

std::string identity_table(const CertificateSet& set) {
  std::string html = head({"statement", "distance", "bound", "why"}) + "<tbody>\n";
  for (const Identity& i : set.identities)
    html += concat(
        "<tr><th scope=\"row\">", escape(i.left), i.claims_equal ? " = " : " differs from ", escape(i.right), "</th>",
        i.holds()
            ? cell(i.distance, 2)
            : concat("<td class=\"off\">", i.is_known ? format_short(i.distance, 2) : "not in the catalog", "</td>"),
        text_cell(concat(i.claims_equal ? "at most " : "at least ", format_short(i.bound, 2))), text_cell(i.because),
        "</tr>\n");
  return html + "</tbody>";
}

/// Error against evaluations, a mark a method and budget, coloured by the order it claims.
std::string budget_plot(const CertificateSet& set, bool is_stochastic) {
  Plot plot{.description = "Relative error of the standard deviation against evaluations of the network",
            .x = {.label = "evaluations", .is_log = true, .ticks = {5, 10, 20, 50}},
            .y = {.label = "relative error of the standard deviation", .is_log = true}};
  plot.height = 460;
  plot.reads_by_x = false;
  for (int order = 1; order <= 8; ++order) {
    PlotSeries series{
        .name = concat("order ", order), .style = concat("s", order), .marker = order % 4, .has_line = false};
    for (const CertifiedSampler& s : set.samplers) {
      const Certificate& c = s.certificate;
      if (c.is_stochastic != is_stochastic || !s.same_as.empty() || c.claims.order != order) continue;
      for (const BudgetError& b : c.budgets)
        if (b.steps > 0 && b.spread > 0.0)
          series.points.push_back({.x = static_cast<double>(b.budget),
                                   .y = std::clamp(b.spread, 1e-9, 1e3),
                                   .label = concat(s.variant.name, "\n", b.budget, " evaluations, ", b.steps,
                                                   " steps: ", format_short(b.spread, 3))});
    }
    if (!series.points.empty()) plot.series.push_back(std::move(series));
  }
  return render_plot(plot);
}

std::string table(const std::string& inside) {
  return concat("<div class=\"wide\"><table class=\"certificates\">\n", inside, "</table></div>\n");
}

std::string body_of(const CertificateSet& set) {
  const std::size_t failed = set.failed_samplers() + set.failed_identities();
  std::string html =
      concat("<header>\n<p class=\"eyebrow\">Thaw certificates</p>\n<h1>",
             failed == 0 ? "Every claim holds" : concat(failed, " claims do not hold"),
             "</h1>\n<p class=\"summary\"><b>", set.samplers.size() + set.adaptive.size() - set.unmeasured_samplers(),
             "</b> solvers were measured against what they claim, without sampling: on Gaussian data and "
             "mixtures the exact answer is known.");
  if (!set.identities.empty())
    html += concat(" <b>", set.identities.size(), "</b> statements about which of them are the same were checked.");
  html += concat("</p>\n<p class=\"origin\"><span>", escape(set.command), "</span> <span>version ",
                 escape(std::string(version())), "</span></p>\n</header>\n");
  if (!set.findings().empty())
    html +=
        concat("<section>\n", heading("findings", "Findings"),
               "<p>Where the literature, or a name, says one thing and the measurement another. Slopes are over 128 to "
               "1024 steps, for every solver and grid; ",
               set.left_out(), " data spreads were left out of them for a change of sign, ", set.silent_slopes(),
               " slopes say nothing.</p>\n", table(findings_table(set)), "</section>\n");
  html +=
      concat("<section>\n", heading("plain", "Without noise"),
             "<p>Slopes of the error over 128 to 1024 steps: on Gaussians of five spreads (two grids), on a mixture "
             "on the line and on one in the plane. The order is the lowest.</p>\n",
             budget_plot(set, false), table(ordinary_table(set)), "</section>\n");
  html += concat("<section>\n", heading("noise", "With noise"),
                 "<p>Slopes of the error between 128 and 1024 steps, and of the difference to 1024 steps on the "
                 "same Brownian path; signed variance errors on N(0, 0.25).</p>\n",
                 budget_plot(set, true), table(stochastic_table(set)), "</section>\n");
  if (!set.adaptive.empty())
    html += concat("<section>\n", heading("adaptive", "Steps of their own"),
                   "<p>Evaluations and error on the mixture on the line at each tolerance; the powers of tolerance and "
                   "of evaluations that the error falls with.</p>\n",
                   table(adaptive_table(set)), "</section>\n");
  if (!set.identities.empty())
    html += concat("<section>\n", heading("identities", "Which are the same"),
                   "<p>Largest absolute difference of normal forms over three paths and three grids.</p>\n",
                   table(identity_table(set)), "</section>\n");
  return html;
}

}  // namespace

std::string certificate_html(const CertificateSet& set) {
  return concat(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
      "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n"
      "<title>Certificates</title>\n<style>",
      kReportStyle, kCertificateStyle, "</style>\n<script>", kReportErrorCounter,
      "</script>\n</head>\n<body>\n<main>\n", body_of(set), "</main>\n<dialog class=\"zoom\"></dialog>\n<script>",
      kReportScript, "</script>\n</body>\n</html>\n");
}

}  // namespace thaw
