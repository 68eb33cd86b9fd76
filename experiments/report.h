#pragma once
// The report page of a run: one HTML file that shows it without network, made from what stands in the run folder.

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace thaw {

/// A picture, sound or video of the run folder; it travels inside the page.
struct ReportMedium {
  std::string file;  // as the index names it
  std::string caption;
  std::string mime;  // "image/png"
  std::string bytes;
  int width = 0, height = 0;                // pixels, of a PNG; else 0
  std::string sound_mime{}, sound_bytes{};  // of what a picture sounds like; empty: nothing
  std::optional<double> sample{};           // number of the sample it shows alone
  /// What it misses of its caption, where that was judged: nothing when it is obeyed.
  std::optional<std::vector<std::string>> missed{};
};

struct ReportTrainingPoint {
  double step = 0, loss = 0;
  std::optional<double> learning_rate{}, grad_norm{}, samples{}, seconds{};
};

struct ReportValidation {
  double step = 0, loss = 0;
  std::vector<std::pair<double, double>> by_level{};  // lambda, loss
};

/// A measured value with what it needs to be believed.
struct ReportFigure {
  std::string name;
  double value = 0;
  std::optional<double> low{}, high{}, n{};
  std::string protocol{};
  std::vector<std::pair<std::string, double>> beside{};  // "floor", "noise": the same measure where the answer is known
};

struct ReportStage {
  std::string name;
  std::vector<std::pair<std::string, double>> figures{};  // "seconds" first, where it is given
};

/// One sampler at one budget of network evaluations.
struct ReportCell {
  std::string sampler;
  double evaluations = 0;  // the budget
  std::optional<double> evaluations_used{}, steps{}, seconds{}, seconds_per_sample{}, n{};
  std::vector<ReportFigure> figures{};
  std::optional<ReportMedium> picture{};
  std::string refused{};  // the reason, in place of figures
};

struct ReportComparison {
  std::string quality;  // the figure that the cells are judged by
  std::vector<ReportCell> cells{};
};

/// What the resolved configuration says of the experiment; empty texts where it says nothing.
struct ReportSetup {
  std::string dataset, backbone, objective, prediction, schedule, steps, batch, sampler, grid_steps, guidance,
      guidance_scale{};
};

/// Prompts obeyed, by what they ask for, and the same of real examples.
struct ReportPrompts {
  struct Row {
    ReportFigure shown;                  // the share of samples
    std::optional<ReportFigure> real{};  // of real examples of such captions
  };
  std::vector<Row> rows{};
  std::vector<std::vector<std::string>> missed{};  // by sample
};

/// A figure along the sample: at each place of it, the mean over samples.
struct ReportAlong {
  std::string figure, axis;                                           // the axis: what a place is, "frame"
  std::vector<std::pair<std::string, std::vector<double>>> series{};  // "samples", "ceiling"
};

/// How often a number lies where, in several sets: shares in bins of one width from `low` to `high`.
struct ReportDistribution {
  std::string figure, axis;
  double low = 0, high = 1;
  std::vector<std::pair<std::string, std::vector<double>>> series{};  // "samples", "held out"
};

struct ReportData {
  std::string title;
  std::string config_text{};
  ReportSetup setup{};
  std::vector<std::pair<std::string, std::string>> environment{};  // in file order
  std::vector<ReportTrainingPoint> training{};
  std::vector<ReportValidation> validation{};
  std::size_t preview_count = 0;  // how many the run made; `previews` holds some of them
  std::vector<ReportMedium> previews{}, forward{}, reverse{}, samples{}, real{};
  std::vector<ReportFigure> figures{};
  std::vector<std::pair<std::string, std::string>> facts{};  // texts of metrics.json: hashes, names
  std::vector<ReportStage> stages{};
  ReportComparison comparison{};
  ReportPrompts prompts{};
  std::vector<ReportAlong> along{};
  std::vector<ReportDistribution> distributions{};
  std::vector<ReportMedium> reconstructions{}, originals{};         // of equal captions
  std::vector<ReportMedium> nearest_samples{}, nearest_training{};  // of equal captions
  std::string memorisation{};                                       // what was found of copies
};

/// Reads what stands in a run folder: config.resolved.yaml, environment.json, metrics.jsonl, metrics.json and
/// pictures/index.json, each optional. Throws DataError when none is there, or when one is broken, names a file outside
/// the folder or one the page cannot show, or when the media exceed 256 MB.
ReportData load_report(const std::filesystem::path& run_folder);

/// The page. Every text is escaped; parts without data are left out and named at the end of the page.
std::string render_report(const ReportData& data);

/// Writes run_folder/report.html, atomically.
void write_report(const std::filesystem::path& run_folder);

}  // namespace thaw
