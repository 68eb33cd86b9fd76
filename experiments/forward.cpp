#include "experiments/forward.h"

#include <cstdio>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/checkpoint.h"
#include "modalities/images/published.h"

namespace thaw {

namespace fs = std::filesystem;

namespace {

at::Tensor take_argument(NamedTensors& tensors, const std::string& name) {
  for (auto one = tensors.begin(); one != tensors.end(); ++one)
    if (one->first == name) {
      const at::Tensor tensor = one->second;
      tensors.erase(one);
      return tensor;
    }
  return {};
}

}  // namespace

int run_forward(const fs::path& folder, const fs::path& in, const fs::path& out) {
  const c10::NoGradGuard no_gradient;
  const image::PublishedNetwork network = image::open_published_network(folder);
  NamedTensors arguments = load_tensors(in).tensors;
  const at::Tensor x = take_argument(arguments, network.input_name);
  at::Tensor timestep = take_argument(arguments, "timestep");
  const at::Tensor label = take_argument(arguments, "class_labels");
  if (!x.defined() || !timestep.defined())
    throw DataError(concat(in.string(), ": has no tensor \"", x.defined() ? "timestep" : network.input_name,
                           "\", which ", network.class_name, " takes."));
  if (!arguments.empty())
    throw DataError(concat(in.string(), ": tensor \"", arguments.front().first, "\" is no argument of ",
                           network.class_name, ". Known: ", network.input_name, ", timestep, class_labels."));
  // One timestep for the whole batch, as the peer takes it.
  if (x.dim() > 0 && timestep.numel() == 1) timestep = timestep.reshape({1}).expand({x.size(0)});
  Condition condition;
  if (label.defined()) condition["label"] = label;
  const at::Tensor output = network.backbone->forward(x.to(at::kFloat), timestep.to(at::kFloat), condition);
  save_tensors(out, {{"sample", output}});
  std::printf("%s\n", out.c_str());
  return 0;
}

}  // namespace thaw
