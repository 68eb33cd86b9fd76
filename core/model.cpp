#include "core/model.h"

#include <cmath>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {

const std::vector<std::string>& conditioning_names() {
  static const std::vector<std::string> names{"angle", "timestep", "lambda", "edm"};
  return names;
}

double Parameterisation::noise_number(const Level& level) const {
  switch (conditioning) {
    case Conditioning::kAngle: return 1000 * noise_fraction(level);
    case Conditioning::kTimestep: return schedule->time_of(level.lambda());
    case Conditioning::kLambda: return level.lambda();
    case Conditioning::kEdm: return std::log(level.rho()) / 4;
  }
  return 0.0;
}

at::Tensor per_sample(const std::vector<float>& values, const at::Tensor& like) {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(like.dim()), 1);
  shape[0] = static_cast<std::int64_t>(values.size());
  return at::tensor(values, at::kFloat).reshape(shape).to(like.device(), like.scalar_type());
}

at::Tensor Model::output(const at::Tensor& x, std::span<const Level> levels, const Condition& condition) const {
  std::vector<float> in, noise;
  for (const Level& level : levels) {
    in.push_back(static_cast<float>(
        scalings(parameterisation.prediction, level, parameterisation.schedule->path(), parameterisation.sigma_data)
            .in));
    noise.push_back(static_cast<float>(parameterisation.noise_number(level)));
  }
  at::Tensor scaled = x;
  for (const float value : in)
    if (value != 1.0f) {
      scaled = x * per_sample(in, x);
      break;
    }
  const AutocastScope autocast(precision, device);
  at::Tensor output = backbone->forward(scaled.to(at::kFloat), at::tensor(noise, at::kFloat).to(device), condition);
  if (output.sizes() != x.sizes())
    throw Error(ExitCode::kBug, concat("denoiser: network returned ", output.sizes(), " for input ", x.sizes()));
  return output.to(at::kFloat);
}

Condition Model::unconditional(const Condition& condition) const {
  Condition result = condition;
  if (const auto label = result.find("label"); label != result.end())
    label->second = at::full_like(label->second, spec.num_classes);
  return result;
}

Denoiser Model::denoiser(Condition condition) const {
  Condition null = unconditional(condition);
  return [this, condition = std::move(condition), null = std::move(null)](const Latent& x, const Query& query) {
    const c10::NoGradGuard no_grad;
    const std::int64_t n = x.batch(), branches = static_cast<std::int64_t>(query.branches.size());
    std::vector<at::Tensor> inputs(query.branches.size(), x.main());
    Condition joined;
    for (const auto& [name, tensor] : condition) {
      std::vector<at::Tensor> parts;
      for (const Branch branch : query.branches)
        parts.push_back(branch == Branch::kConditional ? tensor : null.at(name));
      joined[name] = branches == 1 ? parts.front() : at::cat(parts, 0);
    }
    const at::Tensor batch = branches == 1 ? x.main() : at::cat(inputs, 0);
    const std::vector<Level> levels(static_cast<std::size_t>(n * branches), query.at);
    const at::Tensor f = output(batch, levels, joined).to(x.main().scalar_type());
    const Scalings k = scalings(parameterisation.prediction, query.at, parameterisation.schedule->path(),
                                parameterisation.sigma_data);
    Outputs outputs;
    for (std::int64_t b = 0; b < branches; ++b)
      outputs.push_back(Latent::of(at::add(x.main() * k.skip, f.narrow(0, b * n, n), k.out)));
    return outputs;
  };
}

void move_weights(const Parameters& parameters, const c10::Device& device) {
  for (const auto& [name, tensor] : parameters.all())
    if (tensor.device() != device) tensor.set_data(tensor.detach().to(device));
}

}  // namespace thaw
