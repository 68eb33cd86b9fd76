#include "experiments/command_ema.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/checkpoint.h"
#include "core/math/power_profile.h"
#include "experiments/model_folder.h"
#include "experiments/pipeline.h"

namespace thaw {

namespace fs = std::filesystem;

namespace {

// What can be reconstructed is no better than this beside an average kept all along; a person should know.
constexpr double kCoarse = 0.1;
constexpr double kWidest = 0.2886;

// "0.05,0.1"; empty for none. Out of range is refused here, before anything is written.
std::vector<double> take_numbers(CommandLine& line, const std::string& key, double minimum, double maximum) {
  const std::string text = take_setting(line, key);
  if (text.empty()) return {};
  Config config = Config::empty();
  config.set(key, "[" + text + "]");
  return config.read(std::vector<Option>{{key, std::vector<double>{}, "", minimum, maximum}}, "the command line")
      .numbers(key);
}

// "std0.05" -> 0.05
double width_of(const Snapshot& snapshot) {
  double width = 0.0;
  const char *begin = snapshot.name.data() + 3, *end = snapshot.name.data() + snapshot.name.size();
  const bool is_named = snapshot.name.starts_with("std") && std::from_chars(begin, end, width).ptr == end;
  if (!is_named || !(width > 0.0 && width <= kWidest))
    throw DataError(concat(snapshot.path.string(), ": is no snapshot of a power-function average."));
  return width;
}

NamedTensors weighted(const std::vector<Snapshot>& snapshots, const std::vector<double>& weights) {
  NamedTensors sum;
  for (std::size_t i = 0; i < snapshots.size(); ++i) {
    const NamedTensors one = load_tensors(snapshots[i].path).tensors;
    if (sum.empty())
      for (const auto& [name, tensor] : one)
        sum.emplace_back(name, tensor.is_floating_point() ? at::zeros(tensor.sizes(), at::kDouble) : tensor);
    if (one.size() != sum.size()) throw DataError(concat(snapshots[i].path.string(), ": holds other tensors."));
    for (std::size_t k = 0; k < one.size(); ++k) {
      if (one[k].first != sum[k].first || one[k].second.sizes() != sum[k].second.sizes())
        throw DataError(concat(snapshots[i].path.string(), ": tensor \"", one[k].first, "\" is not as in ",
                               snapshots.front().path.filename().string(), "."));
      if (sum[k].second.is_floating_point()) sum[k].second.add_(one[k].second.to(at::kDouble), weights[i]);
    }
  }
  for (auto& [name, tensor] : sum)
    if (tensor.is_floating_point()) tensor = tensor.to(at::kFloat);
  return sum;
}

NamedTensors without_objective(const NamedTensors& tensors) {
  NamedTensors kept;
  for (const auto& [name, tensor] : tensors)
    if (!name.starts_with("objective.")) kept.emplace_back(name, tensor);
  return kept;
}

void save(const LoadedModel& loaded, const NamedTensors& weights, const fs::path& run, const fs::path& folder,
          const std::string& what) {
  assign(loaded.model.backbone->parameters().all(), without_objective(weights), run.string());
  auto facts = card_facts(*loaded.experiment, run);
  // Figures of the run were measured with another average.
  std::erase_if(facts, [](const auto& fact) {
    return fact.first == "class_agreement" || fact.first.starts_with("frechet") || fact.first == "n";
  });
  facts.emplace_back("average", what);
  save_model(folder, *loaded.experiment, loaded.model, "float32", facts);
}

void make_width(const LoadedModel& loaded, const fs::path& run, const fs::path& out, double std, std::int64_t step) {
  std::vector<Snapshot> snapshots = snapshots_in(run / "snapshots");
  if (snapshots.empty())
    throw DataError(concat(run.string(),
                           ": holds no snapshots; train with train.ema.power=[0.05,0.1] and "
                           "train.ema.snapshot_every."));
  if (step == 0) step = snapshots.back().step;
  std::erase_if(snapshots, [&](const Snapshot& snapshot) { return snapshot.step > step; });
  if (snapshots.empty()) throw ConfigError(concat("command line: step: no snapshot is as early as ", step, "."));
  std::vector<PowerProfile> stored;
  for (const Snapshot& snapshot : snapshots)
    stored.push_back({static_cast<double>(snapshot.step), power_gamma(width_of(snapshot))});
  const Reconstruction made = reconstruct(stored, {static_cast<double>(step), power_gamma(std)});
  const fs::path folder = out / concat("std_", format_double(std));
  save(loaded, weighted(snapshots, made.weights), run, folder,
       concat("power function of relative width ", format_double(std), " at step ", step));
  std::printf("%s  mismatch %s%s\n", folder.c_str(), format_short(made.mismatch, 2).c_str(),
              made.mismatch > kCoarse ? "  (coarse: snapshots are too far apart for this width)" : "");
}

void make_decay(const LoadedModel& loaded, const fs::path& run, const fs::path& out, double decay) {
  const std::string prefix = concat("decay", format_double(decay), ".");
  const NamedTensors all = newest_checkpoint_tensors(run / "checkpoints");
  NamedTensors weights;
  for (const auto& [name, tensor] : all)
    if (name.starts_with(prefix)) weights.emplace_back(name.substr(prefix.size()), tensor);
  if (weights.empty())
    throw ConfigError(concat("command line: decay: ", run.string(), " kept no average of ", format_double(decay),
                             "; name it in train.ema.more_decays."));
  const fs::path folder = out / concat("decay_", format_double(decay));
  save(loaded, weights, run, folder, concat("exponential of decay ", format_double(decay)));
  std::printf("%s\n", folder.c_str());
}

}  // namespace

int command_ema(CommandLine line, const Catalog& catalog) {
  expect_flags(line, {});
  const fs::path run = only_path(line, "run folder");
  const fs::path out = take_setting(line, "out", (run / "averages").string());
  const std::vector<double> stds = take_numbers(line, "std", 1e-3, kWidest);
  const std::vector<double> decays = take_numbers(line, "decay", 0.0, 0.9999999);
  const std::int64_t step = take_integer(line, "step", 0, 0);
  if (!line.settings.empty())
    throw ConfigError(
        concat("command line: unknown setting \"", line.settings.front(), "\". Known: std, decay, step, out."));
  if (stds.empty() && decays.empty()) throw ConfigError("command line: thaw ema needs std=0.05,0.1 or decay=0.99.");
  const LoadedModel loaded = open_model(run, catalog);
  for (const double std : stds) make_width(loaded, run, out, std, step);
  for (const double decay : decays) make_decay(loaded, run, out, decay);
  return 0;
}

}  // namespace thaw
