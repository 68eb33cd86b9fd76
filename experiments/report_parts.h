#pragma once
// The sections of the report page; each returns an empty text when the run has nothing for it.

#include <string>

#include "experiments/report.h"
#include "experiments/report_json.h"

namespace thaw::report {

// report_training.cpp
std::string training_section(const ReportData& data);
/// Loss averaged around every logged point, with weights that halve every 1 % of the log to either side: an average of
/// the past alone would lag behind a falling loss. Values that are not finite do not count.
std::vector<double> smoothed_loss(const std::vector<ReportTrainingPoint>& points);

// report_tables.cpp
std::string comparison_section(const ReportData& data);
std::string measurements_section(const ReportData& data);
std::string reproduction_section(const ReportData& data);

// report_prompts.cpp
/// "prompts" of metrics.json. Throws DataError for what is not as the evaluation writes it.
ReportPrompts load_prompts(const Json& prompts, const std::string& where);
/// Tells each picture of one sample what was missed of its prompt.
void add_verdicts(const ReportPrompts& prompts, std::vector<ReportMedium>& samples);
std::string prompts_table(const ReportPrompts& prompts);

// report_distributions.cpp
/// "distributions" of metrics.json. Throws DataError for what is not as the evaluation writes it.
std::vector<ReportDistribution> load_distributions(const Json& distributions, const std::string& where);
std::string distribution_plots(const std::vector<ReportDistribution>& distributions);

/// The figure that the page leads with: the comparison's quality, else the first one; nullptr without figures.
const ReportFigure* leading_figure(const ReportData& data);

}  // namespace thaw::report
