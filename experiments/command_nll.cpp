#include "experiments/command_nll.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/stop.h"
#include "core/base/text.h"
#include "core/likelihood.h"
#include "experiments/evaluation.h"
#include "experiments/model_folder.h"
#include "experiments/pipeline.h"

namespace thaw {

namespace fs = std::filesystem;

namespace {

// Jacobians up to this size are taken whole.
constexpr std::int64_t kExactDims = 32;

const std::vector<Option>& nll_options() {
  static const std::vector<Option> options{
      {"split", std::string("test"), "of the model's data", 0, 0, {"test", "train"}},
      {"n", std::int64_t{64}, "examples", 2, 1e7},
      {"method", std::string("both"), "what to compute", 0, 0, {"both", "flow", "bound"}},
      {"steps", std::int64_t{32}, "of the probability-flow equation, four evaluations each", 1, 1e6},
      {"trace", std::string("auto"), "of the Jacobian", 0, 0, {"auto", "exact", "hutchinson"}},
      {"probes", std::int64_t{1}, "of Hutchinson's estimate", 1, 200},
      {"bound_steps", std::int64_t{0}, "of the bound's chain; 0: the schedule's table, or 1000", 0, 1e6},
      {"bound_draws", std::int64_t{32}, "of its steps asked about; 0: all", 0, 60000},
      {"conditional", true, "given the examples' labels"}};
  return options;
}

Settings take_settings(CommandLine& line) {
  Config config = Config::empty();
  for (const Option& option : nll_options())
    if (const std::string value = take_setting(line, option.name); !value.empty()) config.set(option.name, value);
  return config.read(nll_options(), "the command line");
}

// The raw examples asked for.
Batch read_data(const Experiment& experiment, const Settings& settings, const std::string& file) {
  const std::int64_t n = settings.integer("n");
  if (file.empty()) {
    const DatasetPtr data = settings.text("split") == "train" ? experiment.dataset() : experiment.held_out();
    if (!data) throw DataError("the data has no split \"test\"; use split=train or name a .npz of samples.");
    return examples(*data, n);
  }
  if (fs::path(file).extension() != ".npz")
    throw ConfigError(concat("command line: ", file, ": expected a .npz of samples, as thaw sample writes it."));
  const Samples samples = read_samples(file);
  Batch batch{samples.raw.slice(0, 0, n), {}};
  if (!samples.labels.empty()) batch.condition["label"] = at::tensor(samples.labels, at::kLong).slice(0, 0, n);
  return batch;
}

struct Part {
  LikelihoodInput input;
  std::int64_t dims = 0;
};

/// What the examples [first, first + count) are to a model.
Part part_of(const LoadedModel& loaded, const Batch& data, const Settings& settings, std::int64_t first,
             std::int64_t count) {
  const Model& model = loaded.model;
  Part part;
  part.input.x0 = loaded.experiment->codec()->encode(data.data.narrow(0, first, count)).to(model.device);
  if (part.input.x0.sizes().slice(1) != at::IntArrayRef(model.spec.shape))
    throw DataError(concat("the data is ", part.input.x0.sizes().slice(1), ", the model's ",
                           at::IntArrayRef(model.spec.shape), "."));
  for (const auto& [name, tensor] : data.condition)
    if (model.spec.num_classes > 0) part.input.condition[name] = tensor.narrow(0, first, count).to(model.device);
  if (!settings.flag("conditional")) part.input.condition = model.unconditional(part.input.condition);
  part.input.seed = loaded.experiment->seed();
  for (std::int64_t i = 0; i < count; ++i) part.input.samples.push_back(static_cast<std::uint64_t>(first + i));
  part.dims = part.input.x0.numel() / count;
  return part;
}

nlohmann::json summary(const std::vector<at::Tensor>& parts, nlohmann::json protocol) {
  const at::Tensor all = at::cat(parts);
  if (!at::isfinite(all).all().item<bool>()) throw NumbersError("nll: the likelihood of an example is not finite.");
  protocol["bits_per_dim"] = all.mean().item<double>();
  protocol["standard_error"] = all.std().item<double>() / std::sqrt(static_cast<double>(all.size(0)));
  protocol["n"] = all.size(0);
  return protocol;
}

class Likelihoods {
 public:
  Likelihoods(const LoadedModel& loaded, const Settings& settings)
      : loaded_(loaded), settings_(settings), bin_(loaded.experiment->codec()->bin()) {
    const std::vector<std::int64_t>& shape = loaded.model.spec.shape;
    std::int64_t dims = 1;
    for (const std::int64_t size : shape) dims *= size;
    const std::string& trace = settings.text("trace");
    flow_ = {
        settings.integer("steps"),
        trace == "exact" || (trace == "auto" && dims <= kExactDims) ? TraceMethod::kExact : TraceMethod::kHutchinson,
        settings.integer("probes")};
    bound_ = {settings.integer("bound_steps"), settings.integer("bound_draws"), bin_};
    if (bound_.steps == 1) throw ConfigError("command line: bound_steps: a chain has at least 2 steps, got 1.");
  }

  nlohmann::json run(const Batch& data) {
    const std::int64_t n = data.data.size(0), most = loaded_.experiment->micro_batch();
    if (n < 2) throw DataError(concat("nll: needs at least 2 examples, got ", n, "."));
    const std::string& method = settings_.text("method");
    Progress progress("nll", n);
    for (std::int64_t first = 0; first < n; first += most) {
      if (stop_requested()) throw Stopped(concat("nll: stopped after ", first, " of ", n, " examples."));
      const std::int64_t count = std::min(most, n - first);
      const Part part = part_of(loaded_, data, settings_, first, count);
      if (method != "bound") add_flow(part);
      if (method != "flow") add_bound(part);
      progress.update(first + count);
    }
    nlohmann::json result;
    if (method != "bound")
      result["flow"] = summary(flow_bits_, {{"steps", flow_.steps},
                                            {"trace", flow_.trace == TraceMethod::kExact ? "exact" : "hutchinson"},
                                            {"probes", flow_.trace == TraceMethod::kExact ? 0 : flow_.probes},
                                            {"dequantised", bin_ > 0.0}});
    if (method != "flow") result["bound"] = summary(bound_bits_, {{"draws", bound_.draws}, {"steps", bound_.steps}});
    return result;
  }

 private:
  void add_flow(const Part& part) {
    LikelihoodInput input = part.input;
    if (bin_ > 0.0) input.x0 = dequantised(input, bin_);
    flow_bits_.push_back(bits_per_dim(-flow_log_density(loaded_.model, input, flow_), part.dims, bin_).cpu());
  }
  void add_bound(const Part& part) {
    const Bound bound = variational_bound(loaded_.model, part.input, bound_);
    bound_bits_.push_back(bits_per_dim(bound.total(), part.dims, 0.0).cpu());
  }

  const LoadedModel& loaded_;
  const Settings& settings_;
  double bin_;
  FlowOptions flow_;
  BoundOptions bound_;
  std::vector<at::Tensor> flow_bits_, bound_bits_;
};

}  // namespace

int command_nll(CommandLine line, const Catalog& catalog) {
  expect_flags(line, {"json"});
  if (line.positional.empty() || line.positional.size() > 2)
    throw ConfigError("command line: thaw nll needs a model directory or run folder, and may name a .npz of samples.");
  const std::string path = line.positional.front(), file = line.positional.size() == 2 ? line.positional[1] : "";
  const Settings settings = take_settings(line);
  const LoadedModel loaded = open_model(path, catalog, line.settings);
  expect_denoiser(*loaded.experiment, path, "it has no likelihood.");
  const nlohmann::json result = Likelihoods(loaded, settings).run(read_data(*loaded.experiment, settings, file));
  if (std::find(line.flags.begin(), line.flags.end(), "json") != line.flags.end()) {
    std::printf("%s\n", result.dump(1).c_str());
    return 0;
  }
  for (const auto& [name, part] : result.items())
    std::printf("%-6s %10.4f +- %.4f bits a dimension (standard error, n %lld)\n", name.c_str(),
                part["bits_per_dim"].get<double>(), part["standard_error"].get<double>(), part["n"].get<long long>());
  return 0;
}

}  // namespace thaw
