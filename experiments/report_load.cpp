#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "core/base/config.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/io/bytes.h"
#include "experiments/report.h"
#include "experiments/report_html.h"
#include "experiments/report_json.h"
#include "experiments/report_parts.h"

namespace thaw {

namespace {

namespace fs = std::filesystem;
using namespace report;

constexpr std::uint64_t kMaxMediaBytes = 256'000'000;  // of all media; browsers give up on larger pages
constexpr std::size_t kMaxPreviews = 16;

/// Media of one run folder, with one bound on all of them together.
class MediaReader {
 public:
  ReportMedium read(const fs::path& folder, const std::string& file, const std::string& caption,
                    const std::string& where) {
    const fs::path relative(file);
    bool leaves = file.empty() || relative.is_absolute();
    for (const fs::path& part : relative) leaves = leaves || part == "..";
    if (leaves) fail(where, concat(quoted(file), " is not a file inside the run folder."));
    const report::MediaType* type = report::media_type(file);
    if (type == nullptr)
      fail(where, concat("a page cannot show ", quoted(file), "; it shows ", report::known_media_suffixes(), "."));

    const std::string path = (folder / relative).string();
    ReportMedium medium{file, caption, std::string(type->mime), read_file(path, kMaxMediaBytes)};
    total_ += medium.bytes.size();
    if (total_ > kMaxMediaBytes)
      fail(path, concat("the media of a page may have ", format_bytes(kMaxMediaBytes), ", with this file they have ",
                        format_bytes(total_), "."));
    if (medium.bytes.size() < type->magic_offset + type->magic.size() || medium.bytes.empty() ||
        medium.bytes.compare(type->magic_offset, type->magic.size(), type->magic) != 0)
      fail(path, concat("the bytes are not those of a ", type->suffix, " file."));
    if (type->mime == "image/png") read_png_size(medium, path);
    return medium;
  }

 private:
  // PNG specification, 5.2 and 11.2.2: an IHDR chunk follows the signature; width and height are its first fields.
  static void read_png_size(ReportMedium& medium, const std::string& path) {
    if (medium.bytes.size() < 24 || medium.bytes.compare(12, 4, "IHDR") != 0) fail(path, "no PNG header (IHDR).");
    const std::uint32_t width = load_be32(bytes_of(medium.bytes), 16), height = load_be32(bytes_of(medium.bytes), 20);
    if (width == 0 || height == 0 || width > 65535 || height > 65535)
      fail(path, concat("a picture of ", width, " x ", height, " pixels; a page shows 1 to 65535 a side."));
    medium.width = static_cast<int>(width);
    medium.height = static_cast<int>(height);
  }

  std::uint64_t total_ = 0;
};

void load_config(const fs::path& path, ReportData& data) {
  data.config_text = read_file(path, kMaxTextBytes);
  try {
    const Config config = Config::parse(data.config_text, path.string());
    // A scalar read as a section is its own type, so one call serves names and numbers.
    const auto text = [&](const char* section, const char* key) { return config.section(section).section(key).type(); };
    data.setup = {config.section("dataset").type(),
                  config.section("backbone").type(),
                  config.section("objective").type(),
                  text("objective", "prediction"),
                  config.section("schedule").type(),
                  text("train", "steps"),
                  text("train", "batch"),
                  config.section("sampler").type(),
                  text("grid", "steps"),
                  config.section("guidance").type(),
                  text("guidance", "scale")};
    const std::string title = text("report", "title");
    if (!title.empty()) data.title = title;
  } catch (const ConfigError& error) {
    throw DataError(error.what());
  }
}

void load_environment(const fs::path& path, ReportData& data) {
  const Json environment = load_object(path);
  for (const auto& [key, value] : environment.items())
    data.environment.emplace_back(key, value.is_string() ? value.get<std::string>() : value.dump());
}

ReportValidation read_validation(const Json& line, const std::string& where) {
  ReportValidation validation{get_number(line, "step", where), get_number(line, "validation_loss", where)};
  if (const Json* levels = find_list(line, "validation_by_level", where))
    for (const Json& level : *levels) {
      if (!level.is_object()) fail(where, "validation_by_level: expected objects with lambda and loss.");
      validation.by_level.emplace_back(get_number(level, "lambda", where), get_number(level, "loss", where));
    }
  return validation;
}

void load_log(const fs::path& path, ReportData& data, MediaReader& media) {
  const std::string text = read_file(path, kMaxTextBytes);
  std::vector<std::pair<std::string, std::string>> previews;  // file, caption
  std::size_t number = 0;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    const std::string content = text.substr(start, end - start);
    start = end + 1;
    const std::string where = concat(path.string(), ":", ++number);
    if (content.find_first_not_of(" \t\r") == std::string::npos) continue;
    const Json line = parse_json(content, where);
    if (!line.is_object()) fail(where, concat("expected an object, found ", line.type_name(), "."));
    if (line.contains("loss"))
      data.training.push_back({get_number(line, "step", where), get_number(line, "loss", where),
                               find_number(line, "learning_rate", where), find_number(line, "grad_norm", where),
                               find_number(line, "samples", where), find_number(line, "seconds", where)});
    if (line.contains("validation_loss")) data.validation.push_back(read_validation(line, where));
    if (line.contains("preview"))
      previews.emplace_back(find_text(line, "preview", where),
                            concat("step ", report::number(get_number(line, "step", where))));
  }
  data.preview_count = previews.size();
  const std::size_t shown = std::min(previews.size(), kMaxPreviews);
  for (std::size_t i = 0; i < shown; ++i) {  // evenly spread, the first and the last among them
    const auto& [file, caption] = previews[shown == 1 ? 0 : i * (previews.size() - 1) / (shown - 1)];
    data.previews.push_back(media.read(path.parent_path(), file, caption, path.string()));
  }
}

std::vector<ReportMedium> read_media_list(const Json& index, const std::string& key, const fs::path& path,
                                          MediaReader& media) {
  std::vector<ReportMedium> result;
  const Json* list = find_list(index, key, path.string());
  if (list == nullptr) return result;
  if (list->size() > kMaxListed)
    fail(path.string(), concat(key, ": at most ", kMaxListed, " files, got ", list->size(), "."));
  for (std::size_t i = 0; i < list->size(); ++i) {
    const std::string where = concat(path.string(), ": ", key, "[", i, "]");
    const Json& entry = (*list)[i];
    if (!entry.is_object()) fail(where, "expected an object with file and caption.");
    result.push_back(
        media.read(path.parent_path(), find_text(entry, "file", where), find_text(entry, "caption", where), where));
    if (const auto sample = find_number(entry, "sample", where)) result.back().sample = *sample;
    if (const std::string sound = find_text(entry, "sound", where); !sound.empty()) {
      ReportMedium heard = media.read(path.parent_path(), sound, "", where);
      if (!heard.mime.starts_with("audio/")) fail(where, concat(quoted(sound), " is no sound."));
      result.back().sound_mime = heard.mime;
      result.back().sound_bytes = std::move(heard.bytes);
    }
  }
  return result;
}

bool ends_with(const std::string& text, std::string_view end) {
  return std::string_view(text).ends_with(end);
}

/// The numbers of an object as figures; NAME_low, _high, _n, _floor, _noise and _ceiling join NAME where that stands.
std::vector<ReportFigure> read_figures(const Json& object, const std::vector<std::string>& skipped) {
  static constexpr std::array<std::string_view, 6> kParts{"_low", "_high", "_n", "_floor", "_noise", "_ceiling"};
  std::vector<ReportFigure> figures;
  const auto is_figure = [&](const std::string& key) {
    const auto found = object.find(key);
    return found != object.end() && (found->is_number() || found->is_null()) &&
           std::find(skipped.begin(), skipped.end(), key) == skipped.end();
  };
  const auto is_part = [&](const std::string& key) {
    return std::any_of(kParts.begin(), kParts.end(), [&](std::string_view part) {
      return ends_with(key, part) && is_figure(key.substr(0, key.size() - part.size()));
    });
  };
  for (const auto& [key, value] : object.items()) {
    if (!is_figure(key) || is_part(key)) continue;
    const auto part = [&](std::string_view name) { return find_number(object, concat(key, name), key); };
    ReportFigure figure{key, find_number(object, key, key).value(), part("_low"), part("_high"), part("_n")};
    for (const char* name : {"floor", "noise", "ceiling"})
      if (const auto beside = part(concat("_", name))) figure.beside.emplace_back(name, *beside);
    figures.push_back(std::move(figure));
  }
  return figures;
}

ReportCell read_cell(const Json& cell, const fs::path& pictures, const std::string& where, MediaReader& media) {
  if (!cell.is_object()) fail(where, concat("expected an object, found ", cell.type_name(), "."));
  ReportCell result{find_text(cell, "sampler", where),
                    get_number(cell, "evaluations", where),
                    find_number(cell, "evaluations_used", where),
                    find_number(cell, "steps", where),
                    find_number(cell, "seconds", where),
                    find_number(cell, "seconds_per_sample", where),
                    find_number(cell, "n", where)};
  if (result.sampler.empty()) fail(concat(where, ": sampler"), "a name is missing here.");
  if (!std::isfinite(result.evaluations)) fail(concat(where, ": evaluations"), "a number is missing here.");
  result.refused = find_text(cell, "refused", where);
  result.figures =
      read_figures(cell, {"evaluations", "evaluations_used", "steps", "seconds", "seconds_per_sample", "n"});
  for (ReportFigure& figure : result.figures)
    if (!figure.n) figure.n = result.n;
  const std::string picture = find_text(cell, "picture", where);
  if (!picture.empty()) result.picture = media.read(pictures, picture, "", where);
  return result;
}

void add_facts(const std::string& key, const Json& value, ReportData& data) {
  if (value.is_string())
    data.facts.emplace_back(key, value.get<std::string>());
  else if (value.is_boolean())
    data.facts.emplace_back(key, value.get<bool>() ? "yes" : "no");
  else if (value.is_structured())
    data.facts.emplace_back(key, value.dump());
}

void load_stages(const Json& stages, const std::string& where, ReportData& data) {
  for (const auto& [name, stage] : stages.items()) {
    if (!stage.is_object())
      fail(concat(where, ": stages.", printable(name)), concat("expected an object, found ", stage.type_name(), "."));
    ReportStage result{name};
    for (const auto& [key, value] : stage.items())
      if (value.is_number()) result.figures.emplace_back(key, value.get<double>());
    data.stages.push_back(std::move(result));
  }
  // In the order they run in, where JSON objects came sorted by name; others follow.
  static constexpr std::array<std::string_view, 4> kOrder{"train", "sample", "evaluate", "compare"};
  std::stable_sort(data.stages.begin(), data.stages.end(), [](const ReportStage& a, const ReportStage& b) {
    return std::find(kOrder.begin(), kOrder.end(), a.name) < std::find(kOrder.begin(), kOrder.end(), b.name);
  });
}

void load_comparison(const Json& compare, const fs::path& pictures, const std::string& where, MediaReader& media,
                     ReportData& data) {
  data.comparison.quality = find_text(compare, "quality", where);
  const std::optional<double> n = find_number(compare, "n", where);
  const Json* cells = find_list(compare, "cells", where);
  if (cells == nullptr) return;
  if (cells->size() > kMaxListed) fail(where, concat("cells: at most ", kMaxListed, ", got ", cells->size(), "."));
  for (std::size_t i = 0; i < cells->size(); ++i) {
    ReportCell cell = read_cell((*cells)[i], pictures, concat(where, ".cells[", i, "]"), media);
    for (ReportFigure& figure : cell.figures)
      if (!figure.n) figure.n = n;
    data.comparison.cells.push_back(std::move(cell));
  }
}

std::vector<ReportAlong> load_along(const Json& by_place, const std::string& where) {
  constexpr std::size_t kMaxPlaces = 100'000;
  std::vector<ReportAlong> result;
  for (const auto& [figure, lines] : by_place.items()) {
    const std::string at = concat(where, ".", printable(figure));
    if (!lines.is_object()) fail(at, concat("expected an object, found ", lines.type_name(), "."));
    ReportAlong along{figure, find_text(lines, "axis", at)};
    for (const auto& [name, values] : lines.items()) {
      if (name == "axis") continue;
      if (!values.is_array() || values.size() > kMaxPlaces)
        fail(concat(at, ".", printable(name)), concat("expected a list of at most ", kMaxPlaces, " numbers."));
      auto& [series, numbers] = along.series.emplace_back(name, std::vector<double>{});
      for (const Json& value : values) {
        if (!value.is_number())
          fail(concat(at, ".", printable(name)), concat("expected numbers, found ", value.type_name(), "."));
        numbers.push_back(value.get<double>());
      }
    }
    result.push_back(std::move(along));
  }
  return result;
}

void load_metrics(const fs::path& path, ReportData& data, MediaReader& media) {
  const Json metrics = load_object(path);
  const std::string where = path.string();
  const std::optional<double> common_n = find_number(metrics, "n", where);
  data.figures = read_figures(metrics, {"n"});
  if (const Json* details = find_object(metrics, "details", where))
    for (ReportFigure& figure : data.figures)
      if (const Json* detail = find_object(*details, figure.name, where + ": details")) {
        const std::string at = concat(where, ": details.", figure.name);
        if (const auto low = find_number(*detail, "low", at)) figure.low = low;
        if (const auto high = find_number(*detail, "high", at)) figure.high = high;
        if (const auto n = find_number(*detail, "n", at)) figure.n = n;
        figure.protocol = find_text(*detail, "protocol", at);
      }
  for (ReportFigure& figure : data.figures)
    if (!figure.n) figure.n = common_n;

  if (const Json* stages = find_object(metrics, "stages", where)) load_stages(*stages, where, data);
  if (const Json* compare = find_object(metrics, "compare", where))
    load_comparison(*compare, path.parent_path() / "pictures", where + ": compare", media, data);
  if (const Json* prompts = find_object(metrics, "prompts", where))
    data.prompts = load_prompts(*prompts, where + ": prompts");
  if (const Json* by_place = find_object(metrics, "by_place", where))
    data.along = load_along(*by_place, where + ": by_place");
  if (const Json* distributions = find_object(metrics, "distributions", where))
    data.distributions = load_distributions(*distributions, where + ": distributions");
  data.memorisation = find_text(metrics, "memorisation", where);
  for (const auto& [key, value] : metrics.items())
    if (key != "details" && key != "distributions" && key != "memorisation" && key != "by_place" &&
        key != "per_sample" && key != "stages" && key != "compare" && key != "prompts")
      add_facts(key, value, data);
}

}  // namespace

ReportData load_report(const fs::path& run_folder) {
  ReportData data;
  data.title = fs::absolute(run_folder / "").lexically_normal().parent_path().filename().string();
  MediaReader media;
  bool is_run = false;
  const auto stands = [&](const char* name) {
    std::error_code ignored;  // a path that cannot be looked at is reported as absent below
    const bool found = fs::exists(run_folder / name, ignored);
    is_run = is_run || found;
    return found;
  };
  if (stands("config.resolved.yaml")) load_config(run_folder / "config.resolved.yaml", data);
  if (stands("environment.json")) load_environment(run_folder / "environment.json", data);
  if (stands("metrics.jsonl")) load_log(run_folder / "metrics.jsonl", data, media);
  if (stands("metrics.json")) load_metrics(run_folder / "metrics.json", data, media);
  if (stands("pictures/index.json")) {
    const fs::path path = run_folder / "pictures" / "index.json";
    const Json index = load_object(path);
    data.forward = read_media_list(index, "forward", path, media);
    data.reverse = read_media_list(index, "reverse", path, media);
    data.samples = read_media_list(index, "samples", path, media);
    data.real = read_media_list(index, "real", path, media);
    data.reconstructions = read_media_list(index, "reconstructions", path, media);
    data.originals = read_media_list(index, "originals", path, media);
    data.nearest_samples = read_media_list(index, "nearest_samples", path, media);
    data.nearest_training = read_media_list(index, "nearest_training", path, media);
    add_verdicts(data.prompts, data.samples);
  }
  if (!is_run)
    fail(run_folder.string(),
         "not a run folder: none of config.resolved.yaml, environment.json, metrics.jsonl, "
         "metrics.json and pictures/index.json stands here.");
  return data;
}

void write_report(const fs::path& run_folder) {
  write_file(run_folder / "report.html", render_report(load_report(run_folder)));
}

}  // namespace thaw
