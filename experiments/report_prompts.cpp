#include <cmath>

#include "core/base/text.h"
#include "experiments/report_html.h"
#include "experiments/report_parts.h"

namespace thaw::report {

namespace {

std::vector<ReportFigure> read_rows(const Json& prompts, const char* key, const std::string& where) {
  std::vector<ReportFigure> rows;
  const Json* list = find_list(prompts, key, where);
  if (list == nullptr) return rows;
  if (list->size() > kMaxListed) fail(where, concat(key, ": at most ", kMaxListed, ", got ", list->size(), "."));
  for (std::size_t i = 0; i < list->size(); ++i) {
    const Json& row = (*list)[i];
    const std::string at = concat(where, ".", key, "[", i, "]");
    if (!row.is_object()) fail(at, concat("expected an object, found ", row.type_name(), "."));
    rows.push_back({find_text(row, "of", at), get_number(row, "share", at), find_number(row, "low", at),
                    find_number(row, "high", at), find_number(row, "n", at)});
  }
  return rows;
}

std::string cells(const ReportFigure& figure) {
  return concat("<td class=\"value\">", exact(figure.value), "</td><td class=\"value\">", interval(figure), "</td><td>",
                figure.n ? exact(*figure.n) : "", "</td>");
}

}  // namespace

ReportPrompts load_prompts(const Json& prompts, const std::string& where) {
  ReportPrompts result;
  const std::vector<ReportFigure> real = read_rows(prompts, "real", where);
  for (ReportFigure& row : read_rows(prompts, "rows", where)) {
    result.rows.push_back({std::move(row)});
    for (const ReportFigure& same : real)
      if (same.name == result.rows.back().shown.name) result.rows.back().real = same;
  }
  const Json* missed = find_list(prompts, "missed", where);
  if (missed == nullptr) return result;
  for (const Json& parts : *missed) {
    result.missed.emplace_back();
    if (!parts.is_array()) fail(where, concat("missed: expected lists, found ", parts.type_name(), "."));
    for (const Json& part : parts) {
      if (!part.is_string()) fail(where, concat("missed: expected names, found ", part.type_name(), "."));
      result.missed.back().push_back(part.get<std::string>());
    }
  }
  return result;
}

void add_verdicts(const ReportPrompts& prompts, std::vector<ReportMedium>& samples) {
  for (ReportMedium& medium : samples)
    if (medium.sample && *medium.sample >= 0 && *medium.sample < static_cast<double>(prompts.missed.size()))
      medium.missed = prompts.missed[static_cast<std::size_t>(*medium.sample)];
}

std::string prompts_table(const ReportPrompts& prompts) {
  if (prompts.rows.empty()) return "";
  std::string html =
      "<h3>Prompts obeyed</h3>\n<p>Shares of samples that show what their prompts ask for, and of real examples of the "
      "same prompts, which the same judge reads.</p>\n"
      "<div class=\"wide\"><table class=\"prompts\">\n<thead><tr><th scope=\"col\">asked for</th>"
      "<th scope=\"col\">samples</th><th scope=\"col\">interval</th><th scope=\"col\">n</th>"
      "<th scope=\"col\">real</th><th scope=\"col\">interval</th><th scope=\"col\">n</th></tr></thead>\n<tbody>\n";
  for (const auto& [shown, real] : prompts.rows)
    html += concat("<tr><th scope=\"row\">", readable(shown.name), "</th>", cells(shown),
                   real ? cells(*real) : "<td></td><td></td><td></td>", "</tr>\n");
  return html + "</tbody></table></div>\n";
}

}  // namespace thaw::report
