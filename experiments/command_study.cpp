#include "experiments/command_study.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/base/version.h"
#include "core/io/json_guard.h"
#include "experiments/comparison.h"
#include "experiments/pipeline.h"

namespace thaw {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kMaxRecordBytes = std::uint64_t{64} << 20;
constexpr int kMaxRecordDepth = 16;

/// One configuration's outcome.
struct Part {
  std::string name, title, command, device, commit;
  std::int64_t steps = 0;  // of training; 0 where none was done
  double train_seconds = 0.0;
  std::uint64_t seed = 0;
  nlohmann::json compared;
  std::map<std::int64_t, double> floors;  // by number of samples
  bool trained_for_judge = false, trained_for_features = false;
};

/// A configuration and what is changed in it.
struct Variant {
  fs::path path;
  std::vector<std::string> own{};     // key=value
  std::vector<std::string> common{};  // of all variants

  std::vector<std::string> settings() const {
    std::vector<std::string> all = own;
    all.insert(all.end(), common.begin(), common.end());
    return all;
  }
};

// "digits guidance.scale=2"
std::string name_of(const Variant& variant) {
  std::string name = variant.path.stem().string();
  for (const std::string& setting : variant.own) name += " " + setting;
  return name;
}
// The same with what is common, without spaces.
fs::path folder_of(const Variant& variant) {
  std::string name = variant.path.stem().string();
  for (const std::string& setting : variant.settings()) name += "_" + setting;
  std::replace(name.begin(), name.end(), '/', '_');
  return fs::path("runs") / name;
}

Part run_part(const Variant& variant, const Catalog& catalog, const std::string& command) {
  Part part;
  part.name = name_of(variant);
  const fs::path folder = folder_of(variant);
  Config config = Config::load(variant.path);
  const bool is_trained_here = config.take_text("model").empty();
  std::unique_ptr<Experiment> own;
  const LoadedModel loaded = is_trained_here ? LoadedModel{} : open_model(variant.path, catalog, variant.settings());
  if (is_trained_here) {
    apply_overrides(config, variant.settings());
    own = std::make_unique<Experiment>(std::move(config), catalog);
    run_pipeline(*own, {folder, command, {"train", "compare"}});
    part.compared = parse_json_file(folder / "metrics.json", kMaxRecordBytes, kMaxRecordDepth)["compare"];
    const nlohmann::json stages = parse_json_file(folder / "stages.json", kMaxRecordBytes, kMaxRecordDepth);
    part.train_seconds = stages["train"]["seconds"].get<double>();
    part.steps = own->train_settings().integer("steps");
  } else {
    part.compared = run_comparison(loaded, folder, command);
  }
  const Experiment& experiment = is_trained_here ? *own : *loaded.experiment;
  part.title = experiment.title();
  part.seed = experiment.seed();
  const nlohmann::json environment = parse_json_file(folder / "environment.json", kMaxRecordBytes, kMaxRecordDepth);
  part.device = environment["device"];
  part.commit = environment["commit"];
  part.trained_for_judge = was_trained_with(experiment, experiment.evaluate().judge);
  part.trained_for_features = was_trained_with(experiment, experiment.evaluate().features);
  const auto& metrics = experiment.evaluate().metrics;
  const auto is_frechet = [](const std::string& metric) {
    return metric == "frechet" || metric.starts_with("frechet ");
  };
  if (std::ranges::none_of(metrics, is_frechet)) return part;
  const Evaluator evaluator(experiment);
  for (const auto& cell : part.compared["cells"])
    if (cell.contains("n") && !part.floors.contains(cell["n"]))
      part.floors[cell["n"]] = evaluator.beside(cell["n"])["frechet_floor"];
  return part;
}

std::string with_interval(const nlohmann::json& cell, const std::string& name, bool is_trained_for) {
  if (!cell.contains(name)) return "";
  return concat(format_short(cell[name].get<double>(), 3), is_trained_for ? "\\* (" : " (",
                format_short(cell[name + "_low"].get<double>(), 3), " - ",
                format_short(cell[name + "_high"].get<double>(), 3), ")");
}

using References = std::map<std::int64_t, double>;

/// The smallest Frechet distance among the cells called a reference, by number of samples.
References references(const std::vector<Part>& parts, const std::vector<std::string>& names) {
  References best;
  for (const Part& part : parts) {
    if (std::find(names.begin(), names.end(), part.name) == names.end()) continue;
    for (const auto& cell : part.compared["cells"]) {
      if (!cell.contains("frechet")) continue;
      const double value = cell["frechet"];
      const auto [known, is_new] = best.try_emplace(cell["n"], value);
      if (!is_new) known->second = std::min(known->second, value);
    }
  }
  return best;
}

// The figures with intervals that cells have: those below first, the Frechet distance last, beside its floor and ratio.
std::vector<std::string> figures_of(const std::vector<Part>& parts) {
  std::set<std::string> found;
  for (const Part& part : parts)
    for (const auto& cell : part.compared["cells"])
      for (const auto& [name, value] : cell.items())
        if (cell.contains(name + "_low") && cell.contains(name + "_high")) found.insert(name);
  std::vector<std::string> figures;
  for (const char* first : {"class_agreement", "prompt_obeyed"})
    if (found.erase(first) > 0) figures.emplace_back(first);
  const bool has_frechet = found.erase("frechet") > 0;
  figures.insert(figures.end(), found.begin(), found.end());
  if (has_frechet) figures.emplace_back("frechet");
  return figures;
}

std::string title_of(const std::string& figure) {
  static const std::map<std::string, std::string> kShort{
      {"class_agreement", "recognised"}, {"prompt_obeyed", "obeyed"}, {"frechet", "Frechet distance"}};
  if (const auto named = kShort.find(figure); named != kShort.end()) return named->second;
  std::string words = figure;
  std::replace(words.begin(), words.end(), '_', ' ');
  return words;
}

// One row of a cell's values, "" where there is none.
std::vector<std::string> row_of(const Part& part, const nlohmann::json& cell, const std::vector<std::string>& figures,
                                const References& best) {
  std::vector<std::string> row{
      part.name, part.steps > 0 ? concat(part.steps, " steps, ", format_duration_s(part.train_seconds)) : "",
      cell["sampler"].get<std::string>()};
  if (cell.contains("refused")) {
    row.push_back(std::to_string(cell["evaluations"].get<std::int64_t>()));
    row.push_back(cell["refused"].get<std::string>());
    return row;
  }
  const std::int64_t n = cell["n"];
  row.push_back(std::to_string(cell["evaluations_used"].get<std::int64_t>()));
  row.push_back(std::to_string(n));
  row.push_back(format_short(1e3 * cell["seconds_per_sample"].get<double>(), 3));
  static const std::set<std::string> kJudged{"class_agreement", "prompt_obeyed"};
  static const std::set<std::string> kByFeatures{"frechet", "fad", "nearest_training", "training_copies"};
  for (const std::string& figure : figures)
    row.push_back(with_interval(cell, figure,
                                (kJudged.contains(figure) && part.trained_for_judge) ||
                                    (kByFeatures.contains(figure) && part.trained_for_features)));
  row.push_back(part.floors.contains(n) ? format_short(part.floors.at(n), 3) : "");
  const auto reference = best.find(n);
  const bool has_ratio = reference != best.end() && cell.contains("frechet");
  row.push_back(has_ratio ? format_short(cell["frechet"].get<double>() / reference->second, 3) : "");
  return row;
}

// Without the columns that no cell fills.
std::string table(const std::vector<Part>& parts, const References& best) {
  const std::vector<std::string> figures = figures_of(parts);
  std::vector<std::string> titles{"configuration", "trained", "sampler", "evaluations", "n", "ms a sample"};
  for (const std::string& figure : figures) titles.push_back(title_of(figure));
  titles.insert(titles.end(), {"floor", "ratio"});
  std::vector<std::vector<std::string>> rows{titles, std::vector<std::string>(titles.size(), "---")};
  std::vector<bool> is_shown(titles.size(), false);
  for (const Part& part : parts)
    for (const auto& cell : part.compared["cells"]) {
      rows.push_back(row_of(part, cell, figures, best));
      rows.back().resize(titles.size());
      for (std::size_t i = 0; i < titles.size(); ++i) is_shown[i] = is_shown[i] || !rows.back()[i].empty();
    }
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < titles.size(); ++i)
      if (is_shown[i]) text += concat("| ", row[i], row[i].empty() ? "" : " ");
    text += "|\n";
  }
  return text;
}

/// Of prompts: shares by what they ask for, one column each; "" where no cell has any.
std::string prompt_table(const std::vector<Part>& parts) {
  std::string text, titles;
  for (const Part& part : parts)
    for (const auto& cell : part.compared["cells"]) {
      if (!cell.contains("prompts")) continue;
      std::string row = concat("| ", part.name, " | ", cell["sampler"].get<std::string>(), " | ",
                               cell["evaluations_used"].get<std::int64_t>(), " |");
      std::string names = "| configuration | sampler | evaluations |";
      for (const auto& of : cell["prompts"]) {
        row += concat(" ", format_short(of["share"].get<double>(), 3), " |");
        names += concat(" ", of["of"].get<std::string>(), " |");
      }
      if (names != titles) {
        titles = names;
        text += concat("\n", titles, "\n|");
        for (std::int64_t i = 1; i < std::count(names.begin(), names.end(), '|'); ++i) text += " --- |";
        text += "\n";
      }
      text += row + "\n";
    }
  return text.empty() ? "" : concat("\nPrompts by what they ask for:\n", text);
}

/// What the variants came to, and why those that cannot be cannot: a prediction of noise on a schedule without data at
/// its end, for example.
struct Outcomes {
  std::vector<Part> parts;
  std::vector<std::string> refused;
};
/// Throws the first reason where no variant can be.
Outcomes run_all(const std::vector<Variant>& variants, const Catalog& catalog, const std::string& command) {
  Outcomes outcomes;
  for (const Variant& variant : variants) try {
      outcomes.parts.push_back(run_part(variant, catalog, command));
    } catch (const ConfigError& error) {
      if (variants.size() == 1) throw;
      outcomes.refused.push_back(concat(name_of(variant), ": ", error.what()));
      std::fprintf(stderr, "%s\n", outcomes.refused.back().c_str());
    }
  if (outcomes.parts.empty()) throw ConfigError(outcomes.refused.front());
  return outcomes;
}

std::string page(const Outcomes& outcomes, const std::vector<std::string>& names, const std::string& command,
                 const std::string& out) {
  const std::vector<Part>& parts = outcomes.parts;
  const auto best = references(parts, names);
  std::string text =
      concat("# ", parts.front().title, "\n\nWritten by `", command, " out=", out, "`; not edited by hand.\n\n");
  text += concat(
      "Commit ", parts.front().commit.substr(0, 12), ", ", parts.front().device, ", seed ", parts.front().seed,
      ". Intervals: 95 %, by resampling (distances of distributions), Wilson (shares) and the normal law (means). ",
      names.empty()
          ? ""
          : concat("Ratio: to the smallest distance of ", join(names, ", "), " at the same number of samples. "),
      "Floor: the distance of as many real training examples.\n\n");
  if (std::any_of(parts.begin(), parts.end(),
                  [](const Part& part) { return part.trained_for_judge || part.trained_for_features; }))
    text += "\\*: by a network that the configuration's own training used.\n\n";
  text += table(parts, best) + prompt_table(parts);
  if (!outcomes.refused.empty()) text += "\nRefused:\n\n";
  for (const std::string& refused : outcomes.refused) text += concat("* ", refused, "\n");
  return text;
}

// The values of "[a, [b, c], d]" as YAML texts: split at the commas of its own level.
std::vector<std::string> values_of(const std::string& setting, const std::string& list) {
  if (list.size() < 2 || list.front() != '[' || list.back() != ']')
    throw ConfigError(concat("command line: ", setting, ": expected a list, for example [1,2,3]."));
  std::vector<std::string> values(1);
  int depth = 0;
  for (const char c : list.substr(1, list.size() - 2)) {
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    if (c == ',' && depth == 0)
      values.emplace_back();
    else
      values.back() += c;
  }
  return values;
}

// Every configuration with every combination of what `each.` settings list.
std::vector<Variant> variants_of(const CommandLine& line) {
  std::vector<Variant> variants;
  for (const std::string& path : line.positional) {
    if (!fs::is_regular_file(path)) throw ConfigError(concat("command line: no configuration file ", path, "."));
    variants.push_back({path});
  }
  for (const std::string& setting : line.settings) {
    const std::size_t equals = setting.find('=');
    if (!setting.starts_with("each.")) {
      for (Variant& variant : variants) variant.common.push_back(setting);
      continue;
    }
    const std::string key = setting.substr(5, equals - 5);
    std::vector<Variant> more;
    for (const Variant& variant : variants)
      for (const std::string& value : values_of(setting, setting.substr(equals + 1))) {
        more.push_back(variant);
        more.back().own.push_back(concat(key, "=", value));
      }
    variants = std::move(more);
  }
  return variants;
}

}  // namespace

int command_study(CommandLine line, const Catalog& catalog) {
  expect_flags(line, {});
  const fs::path out = take_setting(line, "out", "runs/study.md");
  const std::string reference = take_setting(line, "reference");
  if (line.positional.empty()) throw ConfigError("command line: thaw study takes one configuration file or more.");
  std::vector<std::string> names;
  for (std::size_t begin = 0; begin < reference.size();) {
    const std::size_t end = std::min(reference.find(',', begin), reference.size());
    names.push_back(reference.substr(begin, end - begin));
    begin = end + 1;
  }
  const std::vector<Variant> variants = variants_of(line);
  std::vector<std::string> stems;
  for (const Variant& variant : variants) {
    stems.push_back(name_of(variant));
    if (std::count(stems.begin(), stems.end(), stems.back()) > 1)
      throw ConfigError(concat("command line: two configurations are called ", stems.back(),
                               "; a study tells them apart by the names of their files."));
  }
  for (const std::string& name : names)
    if (std::find(stems.begin(), stems.end(), name) == stems.end())
      throw ConfigError(concat("command line: reference: ", name, " is none of ", join(stems, ", "), "."));
  const Outcomes outcomes = run_all(variants, catalog, line.text);
  write_file(out, page(outcomes, names, line.text, out.string()));
  std::printf("%s\n", out.c_str());
  return 0;
}

}  // namespace thaw
