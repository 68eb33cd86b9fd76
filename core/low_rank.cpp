#include "core/low_rank.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/checkpoint.h"

namespace thaw {

const std::vector<Option>& low_rank_options() {
  static const std::vector<Option> options{
      {"rank", std::int64_t{0}, "of changes that train in place of the weights (LoRA); 0: the weights train", 0, 4096},
      {"targets", LowRankOptions{}.targets, "parts of the names of weights that change"}};
  return options;
}

LowRankOptions low_rank_options_from(const Settings& settings) {
  return {settings.integer("rank"), settings.texts("targets")};
}

namespace {

constexpr std::string_view kEnd = ".weight";

bool is_meant(const std::string& name, const at::Tensor& weight, const LowRankOptions& options) {
  const auto holds = [&](const std::string& target) { return name.find(target) != std::string::npos; };
  return weight.dim() >= 2 && weight.is_floating_point() && name.ends_with(kEnd) &&
         std::any_of(options.targets.begin(), options.targets.end(), holds);
}

}  // namespace

LowRankWeights::LowRankWeights(const NamedTensors& weights, const LowRankOptions& options, std::uint64_t seed)
    : factors_(seed) {
  for (const auto& [name, weight] : weights) {
    at::Tensor leaf = weight;
    const bool trains = is_meant(name, weight, options);
    leaf.set_requires_grad(trains);
    if (!trains) continue;
    const std::string layer = name.substr(0, name.size() - kEnd.size());
    std::vector<std::int64_t> down = weight.sizes().vec(), up(down.size(), 1);
    const std::int64_t fan_in = weight.numel() / down[0];
    up[0] = std::exchange(down[0], options.rank);
    up[1] = options.rank;
    layers_.push_back({weight, weight.detach().clone(),
                       factors_.add(layer + ".lora_A.weight", down, Init::fan_in(fan_in)),
                       factors_.add(layer + ".lora_B.weight", up, Init::zeros())});
    for (at::Tensor* factor : {&layers_.back().down, &layers_.back().up})
      factor->set_data(factor->detach().to(weight.device()));
  }
  if (layers_.empty())
    throw ConfigError(concat("train.lora.targets: no weight of two dimensions or more has a name with ",
                             join(options.targets, ", "), " in it."));
}

void LowRankWeights::apply() {
  const c10::NoGradGuard no_grad;
  for (const Layer& layer : layers_) {
    const at::Tensor change = at::matmul(layer.up.flatten(1), layer.down.flatten(1)).reshape(layer.weight.sizes());
    layer.weight.detach().copy_(layer.original + change.to(layer.original.scalar_type()));
  }
}

void LowRankWeights::pass_gradients() {
  const c10::NoGradGuard no_grad;
  const auto add = [](at::Tensor& factor, const at::Tensor& gradient) {
    at::Tensor& sum = factor.mutable_grad();
    sum = sum.defined() ? sum + gradient : gradient;
  };
  for (Layer& layer : layers_) {
    if (!layer.weight.grad().defined()) continue;
    const at::Tensor of_weight = layer.weight.grad().flatten(1).to(at::kFloat);
    add(layer.down, at::matmul(layer.up.flatten(1).t(), of_weight).reshape(layer.down.sizes()));
    add(layer.up, at::matmul(of_weight, layer.down.flatten(1).t()).reshape(layer.up.sizes()));
    layer.weight.mutable_grad() = at::Tensor();
  }
}

void LowRankWeights::save(const std::filesystem::path& path) const {
  const std::string& first = factors_.all().front().first;
  const bool is_transformer = first.starts_with("transformer_blocks.") || first.starts_with("single_transformer_blocks.");
  NamedTensors named;
  for (const auto& [name, factor] : factors_.all()) named.emplace_back(concat(is_transformer ? "transformer." : "unet.", name), factor.detach().cpu());
  save_tensors(path, named, {{"format", "pt"}});
}

}  // namespace thaw
