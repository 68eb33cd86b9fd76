#include "experiments/forward.h"

#include <cstdio>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/checkpoint.h"
#include "core/lora.h"
#include "experiments/published_networks.h"
#include "modalities/images/published.h"

namespace thaw {

namespace fs = std::filesystem;

namespace {

/// The tensors of a file, each to be taken once.
class Arguments {
 public:
  explicit Arguments(const fs::path& path) : where_(path.string()), tensors_(load_tensors(path).tensors) {}

  /// Undefined where it is absent. Pictures and features as float32.
  at::Tensor take(const std::string& name) {
    for (auto one = tensors_.begin(); one != tensors_.end(); ++one)
      if (one->first == name) {
        const at::Tensor tensor = one->second;
        tensors_.erase(one);
        return tensor.is_floating_point() ? tensor.to(at::kFloat) : tensor;
      }
    return {};
  }
  at::Tensor require(const std::string& name, const std::string& taker) {
    const at::Tensor tensor = take(name);
    if (!tensor.defined()) throw DataError(concat(where_, ": has no tensor \"", name, "\", which ", taker, " takes."));
    return tensor;
  }
  Condition conditions(const std::vector<PublishedArgument>& arguments) {
    Condition condition;
    for (const auto& [name, wanted] : arguments) {
      if (!name.ends_with(".")) {
        if (const at::Tensor tensor = take(name); tensor.defined()) condition[wanted] = tensor;
        continue;
      }
      for (int i = 0;; ++i) {
        const at::Tensor tensor = take(concat(name, i));
        if (!tensor.defined()) break;
        condition[concat(wanted, i)] = tensor;
      }
    }
    return condition;
  }
  void refuse_left_over(const std::string& taker, const std::vector<std::string>& known) const {
    if (!tensors_.empty())
      throw DataError(concat(where_, ": tensor \"", tensors_.front().first, "\" is no argument of ", taker,
                             ". Known: ", join(known, ", "), "."));
  }

 private:
  std::string where_;
  NamedTensors tensors_;
};

/// One timestep for the whole batch, as the peer takes it.
at::Tensor each_timestep(const at::Tensor& x, const at::Tensor& timestep) {
  const at::Tensor number = timestep.to(at::kFloat);
  return x.dim() > 0 && number.numel() == 1 ? number.reshape({1}).expand({x.size(0)}) : number;
}

std::vector<std::string> names_of(const std::vector<PublishedArgument>& arguments, std::vector<std::string> names) {
  for (const PublishedArgument& argument : arguments)
    names.push_back(argument.name.ends_with(".") ? argument.name + "0 ..." : argument.name);
  return names;
}

NamedTensors denoise(const fs::path& folder, Arguments arguments, const ForwardLora& lora) {
  const PublishedNetwork network = open_published(folder, published_denoisers());
  const NamedTensors& weights = network.backbone->parameters().all();
  if (!lora.path.empty()) LoraMerge(weights).set({{load_lora(lora.path, weights), lora.scale}});
  const at::Tensor x = arguments.require(network.input_name, network.class_name);
  const at::Tensor timestep = arguments.require("timestep", network.class_name);
  const Condition condition = arguments.conditions(network.arguments);
  arguments.refuse_left_over(network.class_name, names_of(network.arguments, {network.input_name, "timestep"}));
  return {{"sample", network.backbone->forward(x, each_timestep(x, timestep) * network.timestep_scale, condition)}};
}

/// A `sample` through both halves, or latents `z` through the second.
NamedTensors autoencode(const fs::path& folder, Arguments arguments) {
  const std::unique_ptr<Autoencoder> network = open_published_autoencoder(folder).network;
  const at::Tensor z = arguments.take("z");
  const at::Tensor x = z.defined() ? at::Tensor() : arguments.require("sample", "an autoencoder (or \"z\")");
  arguments.refuse_left_over("an autoencoder", {"sample", "z"});
  if (z.defined()) return {{"sample", network->decode(z)}};
  const Posterior posterior = network->encode(x);
  NamedTensors out{{"sample", network->decode(posterior.mean)}, {"latents", posterior.mean}};
  if (posterior.log_variance.defined()) out.emplace_back("log_variance", posterior.log_variance);
  return out;
}

NamedTensors control(const fs::path& folder, Arguments arguments) {
  const std::vector<PublishedArgument> known{{"encoder_hidden_states", "text"},
                                             {"controlnet_cond", "control"},
                                             {"class_labels", "label"},
                                             {"text_embeds", "pooled"},
                                             {"time_ids", "time_ids"}};
  const std::unique_ptr<image::ControlNet> network = image::open_published_controlnet(folder);
  const at::Tensor x = arguments.require("sample", "ControlNetModel");
  const at::Tensor timestep = arguments.require("timestep", "ControlNetModel");
  const at::Tensor scale = arguments.take("conditioning_scale");
  const Condition condition = arguments.conditions(known);
  arguments.refuse_left_over("ControlNetModel", names_of(known, {"sample", "timestep", "conditioning_scale"}));
  if (scale.defined() && scale.numel() != 1)
    throw DataError(concat("conditioning_scale: expected one number, got ", scale.sizes(), "."));
  constexpr std::string_view kPrefix = "down_residual";
  NamedTensors out;
  for (const auto& [name, residual] :
       network->residuals(x, each_timestep(x, timestep), condition,
                          scale.defined() ? *scale.to(at::kDouble).contiguous().data_ptr<double>() : 1.0))
    out.emplace_back(
        name == "middle_residual" ? "mid_block_res_sample" : "down_block_res_samples" + name.substr(kPrefix.size()),
        residual);
  return out;
}

}  // namespace

int run_forward(const fs::path& folder, const fs::path& in, const fs::path& out, const ForwardLora& lora) {
  const c10::NoGradGuard no_gradient;
  const bool denoises =
      published_denoisers().contains(open_published_config(folder, published_class_names()).class_name);
  if (!denoises && !lora.path.empty()) throw ConfigError("command line: lora: only networks that denoise take one.");
  Arguments arguments(in);
  save_tensors(out, denoises                           ? denoise(folder, std::move(arguments), lora)
                    : is_published_autoencoder(folder) ? autoencode(folder, std::move(arguments))
                                                       : control(folder, std::move(arguments)));
  std::printf("%s\n", out.c_str());
  return 0;
}

}  // namespace thaw
