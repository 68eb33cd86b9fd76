#include "core/model.h"

#include <cmath>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/kernels/weighted_sum.h"
#include "core/lanes.h"

namespace thaw {

const std::vector<std::string>& conditioning_names() {
  static const std::vector<std::string> names{"angle", "timestep", "lambda", "edm"};
  return names;
}

double Parameterisation::noise_number(const Level& level) const {
  switch (conditioning) {
    case Conditioning::kAngle:
      return 1000 * noise_fraction(level);
    case Conditioning::kTimestep:
      for (const auto& [lambda, time] : told)
        // At alpha = 0 lambda is infinite: no difference, and a tolerance that takes in everything.
        if (std::isfinite(lambda) ? std::abs(lambda - level.lambda()) <= 1e-9 * (1.0 + std::abs(lambda))
                                  : lambda == level.lambda())
          return time;
      return schedule->time_of(level.lambda());
    case Conditioning::kLambda:
      return level.lambda();
    case Conditioning::kEdm:
      return std::log(level.rho()) / 4;
  }
  return 0.0;
}

double Parameterisation::target_number(const Level& level) const {
  const bool is_infinite = conditioning == Conditioning::kLambda || conditioning == Conditioning::kEdm;
  return noise_number(level.is_clean() && is_infinite ? schedule->at(schedule->t_min()) : level);
}

at::Tensor per_sample(const std::vector<double>& values, const at::Tensor& like) {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(like.dim()), 1);
  shape[0] = static_cast<std::int64_t>(values.size());
  return at::tensor(values, at::kDouble).reshape(shape).to(like.device(), like.scalar_type());
}

at::Tensor Model::output(const at::Tensor& x, std::span<const Level> levels, const Condition& condition,
                         std::span<const Level> targets) const {
  std::vector<double> in, noise;
  for (const Level& level : levels) {
    in.push_back(
        scalings(parameterisation.prediction, level, parameterisation.schedule->path(), parameterisation.sigma_data)
            .in);
    noise.push_back(parameterisation.noise_number(level));
  }
  at::Tensor scaled = x;
  for (const double value : in)
    if (value != 1.0) {
      scaled = x * per_sample(in, x);
      break;
    }
  const auto numbers = [&](const std::vector<double>& values) {
    return at::tensor(values, at::kDouble).to(device, weight_type(precision));
  };
  Condition seen = condition;
  if (backbone->takes_target()) {
    std::vector<double> to;
    for (const Level& level : targets.empty() ? levels : targets) to.push_back(parameterisation.target_number(level));
    seen["target"] = numbers(to);
  }
  if (backbone->takes_guidance() && !seen.contains("guidance"))
    seen["guidance"] = numbers(std::vector<double>(levels.size(), 1.0));
  return raw_output(scaled, numbers(noise), seen);
}

at::Tensor Model::raw_output(const at::Tensor& scaled, const at::Tensor& noise_N, const Condition& seen,
                             Precision in) const {
  const AutocastScope autocast(in, device);
  const c10::ScalarType type = weight_type(in);
  at::Tensor output = backbone->forward(scaled.to(type), noise_N, seen);
  std::vector<std::int64_t> expected = scaled.sizes().vec();
  if (parameterisation.learns_variance) expected[1] *= 2;
  if (output.sizes() != at::IntArrayRef(expected))
    throw Error(ExitCode::kBug, concat("denoiser: network returned ", output.sizes(), " for input ", scaled.sizes()));
  return output.to(type);
}

Condition Model::unconditional(const Condition& condition) const {
  Condition result = condition;
  if (const auto label = result.find("label"); label != result.end())
    label->second = at::full_like(label->second, spec.num_classes);
  if (const auto caption = result.find("caption"); caption != result.end())
    caption->second = at::zeros_like(caption->second);
  return result;
}

Denoiser Model::denoiser(Condition condition) const {
  if (backbone->takes_estimate() && !condition.contains("estimate")) return self_conditioned(*this, condition);
  Condition null = unconditional(condition);
  const Denoiser exact = [this](const Latent& x, const Query& query) {
    return Outputs(query.branches.size(), Latent::of(backbone->exact_x0(x.main(), query.at)));
  };
  return with_perturbed_branch(
      [=, this, condition = std::move(condition), null = std::move(null)](const Latent& x, const Query& query) {
        const c10::AutoGradMode gradients(query.wanted.gradient);
        const std::vector<Level> lanes = query.lanes.empty() ? std::vector<Level>{query.at} : query.lanes;
        if (backbone->exact_x0(x.main().narrow(0, 0, 1), lanes.front()).defined())
          return query.lanes.empty() ? exact(x, query) : ask_by_lane(exact, x, query);
        const std::int64_t n = x.batch(), branches = static_cast<std::int64_t>(query.branches.size());
        Condition joined;
        for (const auto& [name, tensor] : condition) {
          std::vector<at::Tensor> parts;
          for (const Branch branch : query.branches)
            parts.insert(parts.end(), lanes.size(),
                         branch == Branch::kConditional     ? tensor
                         : branch == Branch::kUnconditional ? null.at(name)
                                                            : query.negative->at(name));
          joined[name] = parts.size() == 1 ? parts.front() : at::cat(parts, 0);
        }
        if (query.guidance)
          joined["guidance"] =
              at::full({n * branches}, *query.guidance, at::TensorOptions(device).dtype(weight_type(precision)));
        const at::Tensor batch =
            branches == 1 ? x.main() : at::cat(std::vector<at::Tensor>(query.branches.size(), x.main()), 0);
        std::vector<Level> levels;
        for (std::int64_t i = 0; i < n * branches; ++i)
          levels.push_back(lanes[static_cast<std::size_t>(i % n) * lanes.size() / static_cast<std::size_t>(n)]);
        const std::vector<Level> targets(query.target ? levels.size() : 0, query.target.value_or(Level{}));
        const at::Tensor f = output(batch, levels, joined, targets).to(x.main().scalar_type());
        Outputs outputs;
        for (std::int64_t b = 0; b < branches; ++b)
          outputs.push_back(estimate(x.main(), f.narrow(0, b * n, n), {levels.begin(), levels.begin() + n},
                                     lanes.size(), query.wanted.affine));
        return outputs;
      });
}

Estimate Model::estimate(const at::Tensor& x, const at::Tensor& output, const std::vector<Level>& levels,
                         std::size_t lanes, bool may_be_affine) const {
  std::vector<double> skip, out;
  for (const Level& level : levels) {
    const Scalings k =
        scalings(parameterisation.prediction, level, parameterisation.schedule->path(), parameterisation.sigma_data);
    skip.push_back(k.skip);
    out.push_back(k.out);
    if (lanes == 1) break;
  }
  at::Tensor f = output;
  std::optional<Latent> variance;
  if (parameterisation.learns_variance) {
    const std::vector<at::Tensor> halves = f.chunk(2, 1);
    f = halves[0].contiguous();
    variance = Latent::of(halves[1].contiguous());
  }
  Estimate result;
  if (lanes > 1)
    result.data = Latent::of(at::addcmul(x * per_sample(skip, x), f, per_sample(out, x)));
  else if (may_be_affine)
    result.affine = Affine{skip[0], {{out[0], Latent::of(f)}}};
  else {
    at::Tensor data;
    weighted_sum_into(data, std::vector<const at::Tensor*>{&x, &f}, std::vector<double>{skip[0], out[0]});
    result.data = Latent::of(data);
  }
  result.variance = std::move(variance);
  return result;
}

void move_weights(const Parameters& parameters, const c10::Device& device, c10::ScalarType type) {
  for (const auto& [name, tensor] : parameters.all())
    if (tensor.device() != device || (tensor.is_floating_point() && tensor.scalar_type() != type))
      tensor.set_data(tensor.detach().to(device, tensor.is_floating_point() ? type : tensor.scalar_type()));
}

}  // namespace thaw
