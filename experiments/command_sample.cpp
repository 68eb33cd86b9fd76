#include "experiments/command_sample.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/progress.h"
#include "core/base/text.h"
#include "core/checkpoint.h"
#include "experiments/command_decode.h"
#include "experiments/command_pipeline.h"
#include "experiments/giving.h"
#include "experiments/model_folder.h"
#include "experiments/pipeline.h"
#include "experiments/rollout.h"
#include "experiments/sampling.h"
#include "experiments/told_by_name.h"

namespace thaw {

namespace fs = std::filesystem;

namespace {

/// The tensor `name` of a safetensors file, floats [N, ...] with samples of `shape`; N may be anything from 1 on.
at::Tensor read_samples_like(const fs::path& path, const std::string& name, const std::vector<std::int64_t>& shape) {
  for (const auto& [known, tensor] : load_tensors(path).tensors) {
    if (known != name) continue;
    if (!tensor.is_floating_point() || tensor.dim() < 1 || tensor.size(0) == 0 ||
        tensor.sizes().slice(1) != at::IntArrayRef(shape))
      throw DataError(concat(path.string(), ": ", name, " is ", tensor.sizes(), ", expected floats [N] of ",
                             at::IntArrayRef(shape), "."));
    if (!at::isfinite(tensor).all().item<bool>()) throw DataError(concat(path.string(), ": ", name, " is not finite."));
    return tensor;
  }
  throw DataError(concat(path.string(), ": has no tensor \"", name, "\"."));
}

/// Encoded samples: `sample` of a .safetensors file as `thaw sample` writes it, or arr_0 of an .npz.
at::Tensor read_known(const fs::path& path, const Experiment& experiment, const std::vector<std::int64_t>& shape) {
  if (path.extension() == ".safetensors") return read_samples_like(path, "sample", shape);
  const at::Tensor raw = path.extension() == ".npz"
                             ? read_samples(path).raw
                             : experiment.codec()->read(path, raw_shape_of(experiment, shape)).unsqueeze(0);
  if (experiment.codec()->encoded_shape(raw[0].sizes().vec()) != shape)
    throw DataError(
        concat(path.string(), ": samples are ", raw[0].sizes(), ", the model's ", at::IntArrayRef(shape), "."));
  return experiment.codec()->encode(raw);
}

/// What the command line says of given data: init=, mask=, strength=.
struct EditSettings {
  fs::path init, mask;
  double strength = 1.0;
};

EditSettings take_edit(CommandLine& line) {
  EditSettings edit{take_setting(line, "init"), take_setting(line, "mask"), 1.0};
  const std::string strength = take_setting(line, "strength");
  if (edit.init.empty() && (!edit.mask.empty() || !strength.empty()))
    throw ConfigError("command line: mask and strength change given data: name it with init=FILE.");
  if (strength.empty()) return edit;
  Config config = Config::empty();
  config.set("strength", strength);
  edit.strength =
      config.read(std::vector<Option>{{"strength", 1.0, "", 0.0, 1.0}}, "the command line").number("strength");
  return edit;
}

void apply_edit(const EditSettings& edit, const LoadedModel& loaded, SampleRequest& request) {
  if (edit.init.empty()) return;
  const auto& shape = loaded.model.spec.shape;
  request.editing.known = read_known(edit.init, *loaded.experiment, shape);
  if (!edit.mask.empty()) request.editing.mask = read_samples_like(edit.mask, "mask", shape).clamp(0, 1);
  if (edit.strength < 1.0) {
    request.grid = last_part(request.grid, edit.strength);
    request.editing.starts_from_known = true;
  } else if (edit.mask.empty()) {
    throw ConfigError("command line: init: needs strength below 1, or mask=FILE: else nothing of it is left.");
  }
}

/// between=3,8: starts on the great circle between those of two samples (Song et al. 2021 (DDIM), section 5.3).
at::Tensor starts_between(const std::string& text, std::int64_t n, const SampleRequest& request,
                          const std::vector<std::int64_t>& shape) {
  Config config = Config::empty();
  config.set("between", concat("[", text, "]"));
  const auto ends =
      config.read(std::vector<Option>{{"between", std::vector<double>{}, "", 0, 9e15}}, "the command line")
          .integers("between");
  if (ends.size() != 2)
    throw ConfigError(concat("command line: between: expected two samples, as 3,8; got \"", text, "\"."));
  std::vector<std::int64_t> two = shape;
  two.insert(two.begin(), 2);
  const NoiseSource noise(request.seed, {static_cast<std::uint64_t>(ends[0]), static_cast<std::uint64_t>(ends[1])});
  const at::Tensor start = noise.start(Latent::of(at::empty(two, at::kFloat)), {0.0, 1.0}).main();
  const double cosine = at::cosine_similarity(start[0].flatten(), start[1].flatten(), 0).item<double>();
  const double angle = std::acos(cosine);
  std::vector<at::Tensor> rows;
  for (std::int64_t i = 0; i < n; ++i) {
    const double share = n == 1 ? 0.0 : static_cast<double>(i) / static_cast<double>(n - 1);
    rows.push_back(start[0] * (std::sin((1 - share) * angle) / std::sin(angle)) +
                   start[1] * (std::sin(share * angle) / std::sin(angle)));
  }
  return at::stack(rows);
}

void expect_suffix(const fs::path& out) {
  const std::string suffix = out.extension();
  if (suffix.empty() || suffix == ".npz" || suffix == ".png" || suffix == ".safetensors") return;
  throw ConfigError(
      concat("command line: out: \"", suffix, "\" is not written; use .png, .npz, .safetensors or a folder."));
}

/// frames=, window=, overlap=; 0 where nothing is said.
Rollout take_rollout(CommandLine& line) {
  const Rollout lengths{take_integer(line, "frames", 0, 1), take_integer(line, "window", 0, 2),
                        take_integer(line, "overlap", 0, 1)};
  if (lengths.length == 0 && (lengths.window > 0 || lengths.overlap > 0))
    throw ConfigError("command line: window and overlap are of samples of many windows: say frames=64.");
  return lengths;
}

/// What was not said: a window as long as the model's samples, half of which the next one is given.
Rollout completed(Rollout lengths, const Model& model) {
  if (lengths.window == 0) lengths.window = model.spec.shape.at(1);
  if (lengths.overlap == 0) lengths.overlap = lengths.window / 2;
  return lengths;
}

/// Each sample in a file or folder of its own that grows with its windows.
void write_rollout(const Experiment& experiment, const Model& model, const SampleRequest& request,
                   const Rollout& rollout, const fs::path& out) {
  if (!out.extension().empty())
    throw ConfigError(concat("command line: out: ", out.string(),
                             ": samples of many windows are written as they come, into a folder: out=FOLDER."));
  const auto n = static_cast<std::int64_t>(request.samples.size());
  Progress progress("sample", n * rollout.length);
  std::map<std::int64_t, std::unique_ptr<SampleAppender>> open;
  std::int64_t done = 0;
  roll_out(model, request, rollout, [&](std::int64_t first, const at::Tensor& x) {
    if (!open.contains(first)) {
      for (auto& [index, appender] : open) appender->finish();
      open.clear();
      for (std::int64_t i = first; i < first + x.size(0); ++i) open[i] = experiment.codec()->appender(out, "sample", i);
    }
    const at::Tensor raw = experiment.codec()->decode(x);
    for (std::int64_t i = 0; i < raw.size(0); ++i) open.at(first + i)->append(raw[i]);
    progress.update(done += x.size(0) * x.size(2));
  });
  for (auto& [index, appender] : open) appender->finish();
}

/// The files of a folder. The samples are in a file of their own before any is written, and until all are: what cannot
/// be encoded is not lost.
void write_folder(const Experiment& experiment, const Model& model, const SampleRequest& request, const fs::path& out) {
  const fs::path kept = out / kKeptSamples;
  save_samples(experiment, model, request, kept);
  try {
    experiment.codec()->write(read_samples(kept).raw, out, "sample", 0);
  } catch (const Error& error) {
    const std::string cause = error.what();
    throw Error(error.code(), concat(cause, cause.ends_with('.') ? "" : ".", " The samples are kept: `thaw decode ",
                                     out.string(), "` writes them, by another format with codec.format=NAME."));
  }
  fs::remove(kept);
}

void write_samples(const Experiment& experiment, const Model& model, const SampleRequest& request,
                   const fs::path& out) {
  if (out.extension() == ".npz") return save_samples(experiment, model, request, out);
  if (out.extension().empty()) return write_folder(experiment, model, request, out);
  const at::Tensor x = sample_all(model, request);
  if (out.extension() == ".safetensors") return save_tensors(out, {{"sample", x}});
  const at::Tensor raw = experiment.codec()->decode(x);
  const auto columns = static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(raw.size(0)))));
  write_file(out, experiment.codec()->sheet_png(raw, columns));
}

/// The second network of a cascade, which makes the samples finer: cascade=MODEL, its settings as super.KEY=VALUE.
struct Cascade {
  fs::path path;
  std::vector<std::string> settings{};
};

Cascade take_cascade(CommandLine& line) {
  Cascade cascade{take_setting(line, "cascade")};
  std::erase_if(line.settings, [&](const std::string& setting) {
    if (!setting.starts_with("super.")) return false;
    cascade.settings.push_back(setting.substr(6));
    return true;
  });
  if (cascade.path.empty() && !cascade.settings.empty())
    throw ConfigError("command line: super: changes the second network of a cascade: name it with cascade=MODEL.");
  return cascade;
}

/// Refused where it cannot be told what the first one draws.
LoadedModel open_second(const Cascade& cascade, const LoadedModel& first, const Catalog& catalog) {
  LoadedModel second = open_model(cascade.path, catalog, cascade.settings);
  const std::int64_t factor = coarse_factor(*second.experiment);
  if (factor == 0 && !is_told_of_sample(*second.experiment))
    throw DataError(concat(cascade.path.string(),
                           ": is told no coarser sample (backbone.coarse), nor anything of a sample; it follows "
                           "nothing."));
  std::vector<std::int64_t> needed = second.model.spec.shape, shape = first.model.spec.shape;
  for (std::size_t d = 1; d < needed.size(); ++d) needed[d] /= std::max<std::int64_t>(1, factor);
  shape.insert(shape.begin(), 1);
  const at::Tensor raw = first.experiment->codec()->decode(at::zeros(shape));
  const std::vector<std::int64_t> found = second.experiment->codec()->encoded_shape(raw[0].sizes().vec());
  if (found != needed)
    throw DataError(concat(cascade.path.string(), ": is told samples of ", at::IntArrayRef(needed),
                           ", and the first network draws ", at::IntArrayRef(found), "."));
  return second;
}

/// The request to the second network for what the first one drew.
SampleRequest refining(const LoadedModel& second, const LoadedModel& first, const SampleRequest& drawn) {
  constexpr std::uint64_t kSecondSeed = std::uint64_t{1} << 60;  // above all seeds: noise of its own
  SampleRequest request = plain_request(*second.experiment, static_cast<std::int64_t>(drawn.samples.size()));
  request.seed = drawn.seed + kSecondSeed;
  if (second.model.spec.num_classes > 0) request.labels = drawn.labels;
  if (second.model.spec.caption_bytes > 0) request.captions = drawn.captions;
  const at::Tensor raw = first.experiment->codec()->decode(sample_all(first.model, drawn));
  const bool is_told_of = is_told_of_sample(*second.experiment);
  (is_told_of ? request.told_of : request.coarse) = second.experiment->codec()->encode(raw);
  request.progress = "refine";
  return request;
}

}  // namespace

int command_sample(CommandLine line, const Catalog& catalog) {
  expect_flags(line, {});
  const std::string path = only_path(line, "model directory, run folder or configuration");
  if (image::is_pipeline(path)) return sample_pipeline(std::move(line), catalog);
  const fs::path out = take_setting(line, "out", "samples");
  expect_suffix(out);
  const fs::path noise_path = take_setting(line, "noise"), trace_path = take_setting(line, "trace");
  const std::string between = take_setting(line, "between");
  const EditSettings edit = take_edit(line);
  const Cascade cascade = take_cascade(line);
  const fs::path given = take_setting(line, "given");
  const Rollout lengths = take_rollout(line);
  const std::int64_t asked = take_integer(line, "n", 0, 1);
  const std::string label = take_setting(line, "label"), told = take_setting(line, "told");
  const std::string prompt = take_setting(line, "prompt");
  if (const std::string negative = take_setting(line, "negative"); !negative.empty())
    line.settings.push_back("guidance.negative_prompt=" + nlohmann::json(negative).dump());  // quoted as YAML takes it
  const LoadedModel loaded = open_model(path, catalog, line.settings);
  const Experiment& experiment = *loaded.experiment;
  expect_denoiser(experiment, path, "it gives no samples.");
  at::Tensor noise;
  if (!noise_path.empty()) noise = read_samples_like(noise_path, "noise", loaded.model.spec.shape);
  if (noise.defined() && asked > 0 && asked != noise.size(0))
    throw ConfigError(concat("command line: n: ", asked, ", but ", noise_path.string(), " holds noise for ",
                             noise.size(0), " samples."));
  const std::int64_t n = noise.defined() ? noise.size(0) : asked > 0 ? asked : 16;
  SampleRequest request = make_request(experiment, n, label_from(label, loaded.model.spec), 0, prompt, given.empty(),
                                       told_numbers_from(told, loaded.model, n));
  request.progress = "sample";
  request.noise = noise;
  apply_edit(edit, loaded, request);
  if (!between.empty()) {
    if (noise.defined()) throw ConfigError("command line: between: makes the starts itself; drop noise=.");
    std::vector<std::int64_t> shape = loaded.model.spec.shape;
    if (shape.size() > 1 && grows(request, shape[1])) shape[1] = request.growth.from;
    request.noise = starts_between(between, static_cast<std::int64_t>(request.samples.size()), request, shape);
    std::fill(request.samples.begin(), request.samples.end(), request.samples.front());  // one path for all
  }
  if (!given.empty()) give_file(given, loaded, request);
  Trace trace;
  if (!trace_path.empty()) request.trace = &trace;
  if (lengths.length > 0) {
    if (!cascade.path.empty()) throw ConfigError("command line: frames: a cascade is not rolled out.");
    expect_can_be_given(experiment, loaded.model);
    write_rollout(experiment, loaded.model, request, completed(lengths, loaded.model), out);
  } else if (cascade.path.empty()) {
    write_samples(experiment, loaded.model, request, out);
  } else {
    const LoadedModel second = open_second(cascade, loaded, catalog);
    write_samples(*second.experiment, second.model, refining(second, loaded, request), out);
  }
  if (!trace_path.empty()) {
    trace.save(trace_path);
    std::printf("%s\n", trace_path.c_str());
  }
  std::printf("%s\n", out.c_str());
  return 0;
}

int command_invert(CommandLine line, const Catalog& catalog) {
  expect_flags(line, {});
  const std::string path = only_path(line, "model directory, run folder or configuration");
  const fs::path init = take_setting(line, "init"), out = take_setting(line, "out", "noise.safetensors");
  if (init.empty()) throw ConfigError("command line: thaw invert needs init=FILE (.npz or .safetensors).");
  if (out.extension() != ".safetensors") throw ConfigError("command line: out: the noise is written as .safetensors.");
  const std::string label = take_setting(line, "label"), told = take_setting(line, "told");
  const LoadedModel loaded = open_model(path, catalog, line.settings);
  const at::Tensor known = read_known(init, *loaded.experiment, loaded.model.spec.shape);
  SampleRequest request = make_request(*loaded.experiment, known.size(0), label_from(label, loaded.model.spec), 0, "",
                                       true, told_numbers_from(told, loaded.model, known.size(0)));
  const Plan plan = request.solver(request.grid);
  if (plan.end.lambda() >= plan.start.lambda())
    throw ConfigError(concat("command line: sampler: \"",
                             loaded.experiment->config().section("sampler").type("dpmpp_2m"),
                             "\" does not invert. Use sampler=ddim_inversion."));
  request.progress = "invert";
  request.editing = {.known = known, .mask = {}, .starts_from_known = true, .noise_share = 0.0};
  const double spread = std::hypot(plan.end.alpha, plan.end.sigma);
  save_tensors(out, {{"noise", sample_all(loaded.model, request) / spread}});
  std::printf("%s\n", out.c_str());
  return 0;
}

}  // namespace thaw
