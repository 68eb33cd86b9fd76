#include "core/model.h"

#include <cmath>
#include <limits>

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

double Parameterisation::part_number(const Level& level) const {
  return noise_number(level.is_clean() ? schedule->at(schedule->t_min()) : level);
}

at::Tensor per_sample(const std::vector<double>& values, const at::Tensor& like) {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(like.dim()), 1);
  const auto count = static_cast<std::int64_t>(values.size());
  shape[0] = count > like.size(0) ? like.size(0) : count;
  if (count > like.size(0)) shape.at(2) = count / like.size(0);
  return at::tensor(values, at::kDouble).reshape(shape).to(like.device(), like.scalar_type());
}

namespace {

void expect_parts(const Backbone& backbone, const at::Tensor& x, std::size_t levels) {
  if (x.dim() < 3 || static_cast<std::int64_t>(levels) != x.size(0) * x.size(2))
    throw Error(ExitCode::kBug, concat(levels, " levels for samples ", x.sizes()));
  if (!backbone.takes_parts())
    throw ConfigError(
        "backbone: this network takes one noise level a sample, and is asked about a sample whose parts have levels of "
        "their own. Use a backbone that takes them: \"unet3d\", or \"video_dit\" with patch_time 1.");
}

}  // namespace

at::Tensor Model::output(const at::Tensor& x, std::span<const Level> levels, const Condition& condition,
                         std::span<const Level> targets) const {
  const bool is_apart = static_cast<std::int64_t>(levels.size()) != x.size(0);
  if (is_apart) expect_parts(*backbone, x, levels.size());
  std::vector<double> in, noise;
  for (const Level& level : levels) {
    in.push_back(
        scalings(parameterisation.prediction, level, parameterisation.schedule->path(), parameterisation.sigma_data)
            .in);
    noise.push_back(is_apart ? parameterisation.part_number(level) : parameterisation.noise_number(level));
  }
  at::Tensor scaled = x;
  for (const double value : in)
    if (value != 1.0) {
      scaled = x * per_sample(in, x);
      break;
    }
  const auto numbers = [&](const std::vector<double>& values) {
    const at::Tensor all = at::tensor(values, at::kDouble).to(device, weight_type(precision));
    return is_apart ? all.reshape({x.size(0), -1}) : all;
  };
  Condition seen = condition;
  if (backbone->takes_target()) {
    std::vector<double> to;
    for (const Level& level : targets.empty() ? levels : targets) to.push_back(parameterisation.target_number(level));
    seen["target"] = numbers(to);
  }
  if (backbone->takes_guidance() && !seen.contains("guidance"))
    seen["guidance"] = at::ones({x.size(0)}, at::TensorOptions(device).dtype(weight_type(precision)));
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
  for (const std::string& name : backbone->takes_numbers())
    if (const auto number = result.find(name); number != result.end())
      number->second = at::full_like(number->second, std::numeric_limits<double>::quiet_NaN());
  for (const char* given : {"given", "given_mask"})
    if (const auto part = result.find(given); part != result.end()) part->second = at::zeros_like(part->second);
  return result;
}

namespace {

constexpr Level kAnyLevel{0.8, 0.6};

// Each position by itself: a closed form is asked at one level.
at::Tensor exact_parts(const Backbone& backbone, const at::Tensor& x, const std::vector<Level>& parts) {
  at::Tensor data = at::empty_like(x);
  for (std::int64_t n = 0; n < x.size(0); ++n)
    for (std::int64_t k = 0; k < x.size(2); ++k) {
      const Level& level = parts[static_cast<std::size_t>(n * x.size(2) + k)];
      const at::Tensor state = x.narrow(0, n, 1).narrow(2, k, 1);
      data.narrow(0, n, 1).narrow(2, k, 1).copy_(level.is_clean() ? state / level.alpha
                                                                  : backbone.exact_x0(state, level));
    }
  return data;
}

}  // namespace

Denoiser Model::denoiser(Condition condition) const {
  if (backbone->takes_estimate() && !condition.contains("estimate")) return self_conditioned(*this, condition);
  Condition null = unconditional(condition);
  const Denoiser exact = [this](const Latent& x, const Query& query) {
    return Outputs(query.branches.size(),
                   Latent::of(query.parts.empty() ? backbone->exact_x0(x.main(), query.at)
                                                  : exact_parts(*backbone, x.main(), query.parts)));
  };
  return with_perturbed_branch(
      [=, this, condition = std::move(condition), null = std::move(null)](const Latent& x, const Query& query) {
        const c10::AutoGradMode gradients(query.wanted.gradient);
        const std::vector<Level> lanes = query.lanes.empty() ? std::vector<Level>{query.at} : query.lanes;
        if (backbone->exact_x0(x.main().narrow(0, 0, 1), kAnyLevel).defined())
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
        std::vector<Level> own = query.parts, levels;  // of one branch, of all
        for (std::int64_t i = 0; query.parts.empty() && i < n; ++i)
          own.push_back(lanes[static_cast<std::size_t>(i) * lanes.size() / static_cast<std::size_t>(n)]);
        for (std::int64_t b = 0; b < branches; ++b) levels.insert(levels.end(), own.begin(), own.end());
        const std::vector<Level> targets(query.target ? levels.size() : 0, query.target.value_or(Level{}));
        const at::Tensor f = output(batch, levels, joined, targets).to(x.main().scalar_type());
        const bool is_one = lanes.size() == 1 && query.parts.empty();
        Outputs outputs;
        for (std::int64_t b = 0; b < branches; ++b)
          outputs.push_back(estimate(x.main(), f.narrow(0, b * n, n), own, is_one, query.wanted.affine));
        return outputs;
      });
}

Estimate Model::estimate(const at::Tensor& x, const at::Tensor& output, const std::vector<Level>& levels, bool is_one,
                         bool may_be_affine) const {
  std::vector<double> skip, out;
  for (const Level& level : levels) {
    const Scalings k =
        scalings(parameterisation.prediction, level, parameterisation.schedule->path(), parameterisation.sigma_data);
    skip.push_back(k.skip);
    out.push_back(k.out);
    if (is_one) break;
  }
  at::Tensor f = output;
  std::optional<Latent> variance;
  if (parameterisation.learns_variance) {
    const std::vector<at::Tensor> halves = f.chunk(2, 1);
    f = halves[0].contiguous();
    variance = Latent::of(halves[1].contiguous());
  }
  Estimate result;
  if (!is_one)
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
