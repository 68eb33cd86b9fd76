#include "experiments/command_roundtrip.h"

#include <cstdio>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/text.h"
#include "experiments/evaluation.h"

namespace thaw {

namespace {

struct Trip {
  at::Tensor raw, encoded, back;
};

Trip through(const Codec& codec, const at::Tensor& raw) {
  const c10::NoGradGuard no_grad;
  codec.encoded_shape(raw[0].sizes().vec());  // refuses what it cannot take
  Trip trip{raw, codec.encode(raw).to(at::kCPU), {}};
  trip.back = codec.decode(trip.encoded);
  if (trip.back.sizes() != raw.sizes())
    throw DataError(concat("codec: gives ", trip.back.sizes(), " back for ", raw.sizes(), "."));
  return trip;
}

// All metrics of pairs with their default options; the reasons of those that do not take such data.
std::vector<Measured> measure_all(const Catalog& catalog, const MetricParts& parts, const Subject& subject,
                                  nlohmann::json& left_out) {
  std::vector<Measured> all;
  for (const auto& entry : catalog.metrics.entries()) {
    if (!entry.info.has_trait("of_pairs")) continue;
    Config section = Config::empty();
    section.set("type", entry.info.name);
    try {
      all.push_back(entry.make(catalog.metrics.read(section, entry), parts)->measure(subject));
    } catch (const ConfigError& error) {
      left_out[entry.info.name] = error.what();
    } catch (const DataError& error) {
      left_out[entry.info.name] = error.what();
    }
  }
  return all;
}

nlohmann::json measure(const Experiment& experiment, std::int64_t n) {
  const bool has_held_out = experiment.held_out() != nullptr;
  const DatasetPtr data = has_held_out ? experiment.held_out() : experiment.dataset();
  if (data->size() < 2) throw DataError("dataset: holds fewer than 2 examples.");
  const Codec& codec = *experiment.codec();
  const Trip trip = through(codec, examples(*data, n).data);
  MetricParts parts{Config::empty(), experiment.codec(), data, data};
  parts.spec = experiment.data_spec();
  parts.seed = experiment.seed();
  nlohmann::json left_out = nlohmann::json::object();
  const Subject subject{.raw = trip.back,
                        .encoded = codec.encode(trip.back).to(at::kCPU),
                        .originals = trip.encoded,
                        .original_raw = trip.raw};
  nlohmann::json result = figures_json(measure_all(experiment.catalog(), parts, subject, left_out));
  result.erase("per_sample");
  result["of"] = has_held_out ? "held-out examples" : "training examples";
  result["n"] = trip.raw.size(0);
  result["raw_shape"] = trip.raw[0].sizes().vec();
  result["encoded_shape"] = trip.encoded[0].sizes().vec();
  const at::Tensor x = trip.encoded.to(at::kDouble);
  result["encoded"] = {{"mean", x.mean().item<double>()},
                       {"deviation", x.std().item<double>()},
                       {"least", x.min().item<double>()},
                       {"most", x.max().item<double>()}};
  result["left_out"] = left_out;
  return result;
}

void print(const nlohmann::json& result) {
  const auto shape = [&](const char* key) {
    std::string text;
    for (const auto& side : result[key]) text += concat(text.empty() ? "" : " x ", side.get<std::int64_t>());
    return text;
  };
  const auto number = [&](const char* key) { return format_short(result["encoded"][key].get<double>(), 3); };
  std::printf("%s of %s, %lld %s\n", shape("encoded_shape").c_str(), shape("raw_shape").c_str(),
              result["n"].get<long long>(), result["of"].get<std::string>().c_str());
  std::printf("encoded: mean %s, deviation %s, from %s to %s\n", number("mean").c_str(), number("deviation").c_str(),
              number("least").c_str(), number("most").c_str());
  for (const auto& [name, detail] : result["details"].items())
    std::printf("%-26s %s (%s to %s)\n  %s\n", name.c_str(), format_short(result[name].get<double>()).c_str(),
                format_short(detail["low"].get<double>()).c_str(), format_short(detail["high"].get<double>()).c_str(),
                detail["protocol"].get<std::string>().c_str());
  for (const auto& [name, reason] : result["left_out"].items())
    std::printf("%-26s left out: %s\n", name.c_str(), reason.get<std::string>().c_str());
}

}  // namespace

int command_roundtrip(CommandLine line, const Catalog& catalog) {
  expect_flags(line, {"json"});
  const std::string path = only_path(line, "configuration file");
  const std::int64_t n = take_integer(line, "n", 64, 2);
  Config config = Config::load(path);
  apply_overrides(config, line.settings);
  const nlohmann::json result = measure(Experiment(std::move(config), catalog), n);
  if (line.flags.empty())
    print(result);
  else
    std::printf("%s\n", result.dump(1).c_str());
  return 0;
}

}  // namespace thaw
