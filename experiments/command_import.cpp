// `thaw import`: what a pipeline's folder holds, from its configurations and the headers of its weights.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/device.h"
#include "experiments/command_export.h"
#include "experiments/command_pipeline.h"
#include "experiments/published_schedule.h"
#include "modalities/images/pipeline_cost.h"
#include "samplers/scheduler_config.h"

namespace thaw {

namespace fs = std::filesystem;

namespace {

std::string types_of(const image::WeightFacts& facts) {
  std::vector<std::string> names;
  for (const auto& [name, count] : facts.parameters_by_type) names.push_back(name);
  return join(names, "+");
}

bool has_weights(const image::PipelinePart& part) {
  return part.is_used && (part.name == "unet" || part.name == "transformer" || part.name == "vae" ||
                          part.name.starts_with("text_encoder"));
}

}  // namespace

int command_import(CommandLine line, const Catalog& catalog) {
  expect_flags(line, {});
  const fs::path path = only_path(line, "pipeline folder or file");
  if (fs::is_regular_file(path)) return import_single_file(std::move(line));
  if (!line.settings.empty())
    throw ConfigError(concat("command line: thaw import takes no settings, got \"", line.settings.front(), "\"."));
  const image::PipelineFolder folder = image::open_pipeline_folder(path);
  std::string table;
  image::WeightFacts total;
  for (const image::PipelinePart& part : folder.parts) {
    std::string row = part.name;
    row.resize(std::max<std::size_t>(row.size() + 1, 18), ' ');
    row += part.class_name;
    row.resize(std::max<std::size_t>(row.size() + 1, 52), ' ');
    if (has_weights(part)) {
      const image::WeightFacts facts = image::weight_facts(part.folder);
      total.parameters += facts.parameters;
      total.bytes += facts.bytes;
      row += concat(facts.parameters, " parameters, ", format_bytes(facts.bytes), ", ", types_of(facts));
    } else if (!part.is_used) {
      row += "not used";
    }
    while (row.ends_with(' ')) row.pop_back();
    table += row + "\n";
  }
  const fs::path scheduler = folder.find("scheduler")->folder / "scheduler_config.json";
  const std::string text = read_file(scheduler, 1 << 20);
  SchedulerCalls calls;
  const nlohmann::json config = scheduler_values(text, scheduler.string());
  if (config.value("use_dynamic_shifting", nlohmann::json(false)) == true) calls["mu"] = 1.0;
  import_scheduler(text, scheduler.string(), catalog.schedules, catalog.samplers, calls);  // refuses what is not read
  std::printf("%s: %s\n%s%-51s %lld parameters, %s\n", path.c_str(), folder.class_name.c_str(), table.c_str(), "all",
              static_cast<long long>(total.parameters), format_bytes(total.bytes).c_str());
  return 0;
}

namespace {

/// Multiply-adds a second of a product of matrices on the device.
double measured_speed(const c10::Device& device) {
  const c10::NoGradGuard no_gradient;
  constexpr std::int64_t kSide = 768;
  const at::Tensor a = at::ones({kSide, kSide}, at::TensorOptions(device).dtype(at::kFloat));
  double best = 0.0;
  for (int i = 0; i < 4; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    at::matmul(a, a).sum().item<float>();  // waits for the device
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    best = std::max(best, std::pow(static_cast<double>(kSide), 3) / seconds.count());
  }
  return best;
}

std::string row_of(const image::PartCost& part) {
  std::string row = part.name;
  row.resize(18, ' ');
  row += concat(format_bytes(part.memory_bytes), " weights, ", format_bytes(part.activation_bytes), " activations, ",
                format_short(part.multiply_adds * 1e-9, 3), " G multiply-adds a pass\n");
  return row;
}

}  // namespace

int command_estimate(CommandLine line, const Catalog&) {
  expect_flags(line, {});
  const fs::path path = only_path(line, "pipeline folder");
  const PipelineRequest request = take_pipeline_request(line);
  const image::PipelineFolder folder = image::open_pipeline_folder(path);
  const std::int64_t weight_bytes = request.weights == "float32" || request.weights == "stored" ? 4 : 2;
  const image::PipelineCost cost = image::pipeline_cost(folder, {request.size[1], request.size[0], weight_bytes});
  const image::PartCost& network = cost.at(folder.denoiser().name);
  const bool is_guided = request.guidance.value_or(7.5) > 1.0 && folder.family != image::PipelineFamily::kFlux &&
                         folder.family != image::PipelineFamily::kPlain;
  const auto batch = static_cast<std::uint64_t>(request.micro_batch * (is_guided ? 2 : 1));
  std::string table;
  std::uint64_t peak = 0, resident = 0;
  double work = 0.0;
  for (const image::PartCost& part : cost.parts) {
    table += row_of(part);
    // Text encoders are closed before the network is opened; the autoencoder stays beside it.
    const bool is_text = part.name.starts_with("text_encoder");
    const double passes = &part == &network ? static_cast<double>(request.steps * request.n) * (is_guided ? 2 : 1)
                          : is_text         ? 2.0
                                            : static_cast<double>(request.n);
    work += passes * part.multiply_adds;
    if (!is_text && !(&part == &network && request.streams_weights)) resident += part.memory_bytes;
    peak = std::max(peak, part.activation_bytes * (&part == &network ? batch : 1));
  }
  const double speed = measured_speed(device_from_name(request.device));
  std::printf("%s: %s, %lldx%lld, %lld steps, %lld pictures, %s guidance\n%s", path.c_str(), folder.class_name.c_str(),
              static_cast<long long>(cost.width), static_cast<long long>(cost.height),
              static_cast<long long>(request.steps), static_cast<long long>(request.n), is_guided ? "with" : "without",
              table.c_str());
  std::printf("memory  %s while it denoises and decodes, a rough count\n", format_bytes(resident + peak).c_str());
  std::printf("time    %s at the %s G multiply-adds a second of a matrix product here, a lower bound\n",
              format_duration_s(work / speed).c_str(), format_short(speed * 1e-9, 3).c_str());
  return 0;
}

}  // namespace thaw
