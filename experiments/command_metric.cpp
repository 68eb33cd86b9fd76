#include "experiments/command_metric.h"

#include <cstdio>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/text.h"
#include "experiments/evaluation.h"
#include "experiments/sample_set.h"

namespace thaw {

namespace {

// The first thing a metric of two sets needs and these have not; empty where all is there.
std::string lacking(const EntryInfo& metric, const SampleSet& own, const std::string& features,
                    const std::string& judge) {
  if (!metric.has_trait("of_samples") && !metric.has_trait("of_pairs"))
    return concat(metric.name, " measures a network, and here are two sets.");
  if (metric.has_trait("needs_captions")) return concat(metric.name, " needs captions that can be checked.");
  if (metric.has_trait("needs_classes") && own.labels.empty() && own.folders.empty())
    return concat(metric.name,
                  " needs the classes asked for, and the first set has none (arr_1 of a .npz, or a folder for each).");
  if (metric.has_trait("needs_features") && features.empty())
    return concat(metric.name, " needs features=MODEL, a model directory.");
  if (metric.has_trait("needs_judge") && judge.empty())
    return concat(metric.name, " needs judge=MODEL, a model directory.");
  return "";
}

// The codec of pictures or clips of 8 bits, or of sounds, by what takes such samples; clouds are numbers as they are.
CodecPtr codec_of(const Catalog& catalog, const EntryInfo& metric, const SampleSet& set, const std::string& path) {
  if (metric.has_trait("of_clouds")) {
    Config config = Config::empty();
    config.set("codec", "point_cloud");
    return catalog.codecs.create(config.section("codec"), "", CodecParts{});
  }
  std::string reasons;
  const bool are_bytes = set.raw.scalar_type() == at::kByte, are_numbers = set.raw.is_floating_point();
  const std::vector<const char*> names = are_bytes     ? std::vector{"unit_range", "clip"}
                                         : are_numbers ? std::vector{"waveform"}
                                                       : std::vector<const char*>{};
  for (const char* name : names) {
    Config config = Config::empty();
    config.set("codec.type", name);
    if (set.rate_hz > 0) config.set("codec.rate", std::to_string(set.rate_hz));
    CodecPtr codec = catalog.codecs.create(config.section("codec"), "", CodecParts{});
    try {
      codec->encoded_shape(set.raw[0].sizes().vec());
      return codec;
    } catch (const DataError& error) {
      reasons += concat(" ", error.what());
    }
  }
  throw DataError(concat(path, ": ", set.raw.scalar_type(), " ", set.raw.sizes(),
                         ": neither pictures or clips of 8 bits nor sounds.", reasons));
}

MetricParts parts_of(const Catalog& catalog, const EntryInfo& metric, const SampleSet& own, const std::string& path,
                     std::uint64_t seed) {
  MetricParts parts{Config::empty(), codec_of(catalog, metric, own, path)};
  parts.spec.shape = parts.codec->encoded_shape(own.raw[0].sizes().vec());
  parts.seed = seed;
  return parts;
}

void print(const nlohmann::json& measured) {
  for (const auto& [name, detail] : measured["details"].items())
    std::printf("%-24s %s (%s to %s, n = %lld)\n  %s\n", name.c_str(),
                format_short(measured[name].get<double>()).c_str(), format_short(detail["low"].get<double>()).c_str(),
                format_short(detail["high"].get<double>()).c_str(), detail["n"].get<long long>(),
                detail["protocol"].get<std::string>().c_str());
  for (const auto& [name, value] : measured.items())
    if (value.is_string()) std::printf("  %s: %s\n", name.c_str(), value.get<std::string>().c_str());
}

}  // namespace

int command_metric(CommandLine line, const Catalog& catalog) {
  expect_flags(line, {"json"});
  if (line.positional.size() != 3)
    throw ConfigError("command line: thaw metric takes NAME A B: a metric, what is measured, and what against.");
  const std::string name = line.positional[0], features = take_setting(line, "features"),
                    judge = take_setting(line, "judge");
  const std::int64_t n = take_integer(line, "n", 0, 0), seed = take_integer(line, "seed", 1, 0),
                     length = take_integer(line, "length", 0, 1);
  Config section = Config::empty();
  section.set("type", name);
  apply_overrides(section, line.settings);
  const auto& entry = catalog.metrics.find(section);
  const Settings settings = catalog.metrics.read(section, entry);
  SampleSet own = read_sample_set(line.positional[1], n, length);
  const SampleSet other = read_sample_set(line.positional[2], n, length);
  if (own.rate_hz != other.rate_hz && own.rate_hz > 0 && other.rate_hz > 0)
    throw DataError(concat(line.positional[1], ": sounds of ", own.rate_hz, " samples a second, and ",
                           line.positional[2], " has ", other.rate_hz, "."));
  if (const std::string reason = lacking(entry.info, own, features, judge); !reason.empty())
    throw ConfigError("command line: " + reason);
  MetricParts parts = parts_of(catalog, entry.info, own, line.positional[1], static_cast<std::uint64_t>(seed));
  parts.data = parts.held_out = dataset_of(other);
  if (!features.empty()) parts.features = open_classifier(catalog, features, features);
  if (!judge.empty()) parts.judge = open_classifier(catalog, judge, judge);
  if (parts.judge) parts.spec.num_classes = parts.judge->model->spec.num_classes;
  if (entry.info.has_trait("needs_classes") && parts.judge && own.labels.empty())
    own.labels = labels_of_folders(own.folders, parts.spec.num_classes, parts.judge->model->spec.class_names);
  Subject subject{.raw = own.raw, .labels = own.labels};
  if (entry.info.has_trait("of_pairs")) {
    subject.encoded = parts.codec->encode(own.raw);
    subject.originals = parts.codec->encode(other.raw);
  }
  nlohmann::json measured = figures_json({entry.make(settings, parts)->measure(subject)});
  measured["measured_set"] = concat(line.positional[1], " ", own.raw.sizes(), " xxh3 ", own.hash);
  measured["against_set"] = concat(line.positional[2], " ", other.raw.sizes(), " xxh3 ", other.hash);
  if (line.flags.empty())
    print(measured);
  else
    std::printf("%s\n", measured.dump(1).c_str());
  return 0;
}

}  // namespace thaw
