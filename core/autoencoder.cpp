#include "core/autoencoder.h"

#include <algorithm>
#include <functional>
#include <utility>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {

namespace {

/// What a number of the latents `like` [N, C, ...] is shifted or scaled by: [C, 1, ...], [C, L] with globals, or a
/// scalar.
at::Tensor per_number(const LatentSpec& spec, const std::vector<double>& values, const at::Tensor& like) {
  const at::Tensor row = at::tensor(values, at::kDouble).to(like.options());
  if (values.size() == 1) return row;
  if (spec.globals == 0) {
    std::vector<std::int64_t> shape(static_cast<std::size_t>(like.dim() - 1), 1);
    shape[0] = spec.channels;
    return row.reshape(shape);
  }
  const at::Tensor locals = row.narrow(0, 0, spec.channels).unsqueeze(1).expand({-1, like.size(2) - spec.globals});
  return at::cat({locals, row.narrow(0, spec.channels, spec.channels * spec.globals).reshape({spec.channels, -1})}, 1);
}

/// Sides of tiles along one dimension of the input and of the output.
struct Axis {
  std::int64_t dim, tile_in, step_in, blend_out, keep_out, count;
};

Axis axis_of(const at::Tensor& x, std::int64_t dim, std::int64_t side, std::int64_t in, std::int64_t out) {
  const std::int64_t step = side / 4 * 3 * in;
  return {dim, side * in, step, side / 4 * out, side / 4 * 3 * out, (x.size(dim) + step - 1) / step};
}

/// Fades `tile` in over the end of the tile before it, in place: the tiles after it see the result.
void blend(const at::Tensor& before, at::Tensor& tile, const Axis& axis) {
  const std::int64_t extent = std::min({before.size(axis.dim), tile.size(axis.dim), axis.blend_out});
  std::vector<std::int64_t> shape(static_cast<std::size_t>(tile.dim()), 1);
  shape[static_cast<std::size_t>(axis.dim)] = extent;
  const at::Tensor share = (at::arange(extent, tile.options()) / static_cast<double>(extent)).reshape(shape);
  at::Tensor head = tile.narrow(axis.dim, 0, extent);
  head.copy_(before.narrow(axis.dim, before.size(axis.dim) - extent, extent) * (1 - share) + head * share);
}

using Piecewise = std::function<at::Tensor(const at::Tensor&)>;

/// `each` over tiles of x; a position of its input stands for out / in positions of its output.
at::Tensor over_tiles(const at::Tensor& x, std::vector<Axis> axes, const Piecewise& each) {
  std::int64_t count = 1;
  for (const Axis& axis : axes) count *= axis.count;
  std::vector<at::Tensor> tiles;
  at::Tensor out;
  for (std::int64_t index = 0; index < count; ++index) {
    at::Tensor piece = x;
    // The last axis runs fastest; strides[a] tiles lie between neighbours along it.
    std::int64_t stride = 1;
    std::vector<std::int64_t> place(axes.size()), strides(axes.size());
    for (std::size_t a = axes.size(); a-- > 0;) {
      place[a] = index / stride % axes[a].count;
      strides[a] = std::exchange(stride, stride * axes[a].count);
      const std::int64_t start = place[a] * axes[a].step_in;
      piece = piece.narrow(axes[a].dim, start, std::min(axes[a].tile_in, x.size(axes[a].dim) - start));
    }
    at::Tensor tile = each(piece.contiguous());
    for (std::size_t a = 0; a < axes.size(); ++a)
      if (place[a] > 0) blend(tiles[static_cast<std::size_t>(index - strides[a])], tile, axes[a]);
    if (!out.defined()) {
      std::vector<std::int64_t> shape = tile.sizes().vec();
      for (const Axis& axis : axes)
        shape[static_cast<std::size_t>(axis.dim)] = x.size(axis.dim) * axis.keep_out / axis.step_in;
      out = at::empty(shape, tile.options());
    }
    at::Tensor target = out, kept = tile;
    for (std::size_t a = 0; a < axes.size(); ++a) {
      const std::int64_t size = std::min(axes[a].keep_out, tile.size(axes[a].dim));
      kept = kept.narrow(axes[a].dim, 0, size);
      target = target.narrow(axes[a].dim, place[a] * axes[a].keep_out, size);
    }
    target.copy_(kept);
    tiles.push_back(tile);
  }
  return out;
}

class TiledAutoencoder : public Autoencoder {
 public:
  TiledAutoencoder(std::shared_ptr<const Autoencoder> whole, Tiling tiling)
      : whole_(std::move(whole)), spec_(whole_->latent()), tiling_(tiling) {
    if (tiling_.side < 0 || tiling_.side % 4 != 0)
      throw ConfigError(concat("tile side: must be a multiple of 4, got ", tiling_.side, "."));
    if (tiling_.side > 0 && spec_.globals > 0)
      throw ConfigError("tile side: latents with columns of the sample as a whole have no tiles.");
  }

  LatentSpec latent() const override { return spec_; }
  const Parameters& parameters() const override { return whole_->parameters(); }

  Posterior encode(const at::Tensor& x) const override {
    bool has_variance = false;
    const at::Tensor moments = in_pieces(x, true, [&](const at::Tensor& piece) {
      const Posterior posterior = whole_->encode(piece);
      has_variance = posterior.log_variance.defined();
      return has_variance ? at::cat({posterior.mean, posterior.log_variance}, 1) : posterior.mean;
    });
    if (!has_variance) return {moments};
    const auto halves = moments.chunk(2, 1);
    return {halves[0], halves[1]};
  }

  at::Tensor decode(const at::Tensor& z) const override {
    return in_pieces(z, false, [&](const at::Tensor& piece) { return whole_->decode(piece); });
  }

 private:
  at::Tensor in_pieces(const at::Tensor& x, bool encodes, const Piecewise& each) const {
    const auto whole_or_tiles = [&](const at::Tensor& batch) {
      std::vector<Axis> axes;
      bool fits = true;
      for (std::size_t i = 0; i < spec_.factors.size() && static_cast<std::int64_t>(i) + 2 < x.dim(); ++i) {
        const std::int64_t factor = spec_.factors[i], dim = static_cast<std::int64_t>(i) + 2;
        if (tiling_.side > 0) axes.push_back(axis_of(x, dim, tiling_.side, encodes ? factor : 1, encodes ? 1 : factor));
        fits = fits && (tiling_.side == 0 || x.size(dim) <= axes.back().tile_in);
        if (encodes && x.size(dim) % factor != 0)
          throw DataError(concat("autoencoder input: sides must be multiples of ", factor, ", got ", x.sizes(), "."));
      }
      return fits ? each(batch) : over_tiles(batch, axes, each);
    };
    if (!tiling_.by_sample) return whole_or_tiles(x);
    std::vector<at::Tensor> out;
    for (const at::Tensor& sample : x.split(1)) out.push_back(whole_or_tiles(sample));
    return at::cat(out);
  }

  std::shared_ptr<const Autoencoder> whole_;
  LatentSpec spec_;
  Tiling tiling_;
};

}  // namespace

at::Tensor draw(const Posterior& posterior, const at::Tensor& noise) {
  if (!posterior.log_variance.defined() || !noise.defined()) return posterior.mean;
  return posterior.mean + (0.5 * posterior.log_variance).exp() * noise;
}

at::Tensor kl_to_normal(const Posterior& posterior) {
  const at::Tensor& v = posterior.log_variance;
  return 0.5 * (posterior.mean.square() + v.exp() - 1 - v).flatten(1).mean(1);
}

Quantised quantised(const at::Tensor& z, const at::Tensor& codes, double commitment) {
  const at::Tensor rows = z.movedim(1, -1);  // [N, ..., C]
  const at::Tensor flat = rows.reshape({-1, z.size(1)}).detach();
  const at::Tensor index = at::cdist(flat, codes.detach()).argmin(1);
  const at::Tensor nearest = codes.index_select(0, index).reshape(rows.sizes()).movedim(-1, 1);
  const auto mean_square = [](const at::Tensor& difference) { return difference.square().flatten(1).mean(1); };
  const at::Tensor penalty = mean_square(z.detach() - nearest) + commitment * mean_square(z - nearest.detach());
  std::vector<std::int64_t> shape = rows.sizes().vec();
  shape.pop_back();
  return {z + (nearest - z).detach(), index.reshape(shape), penalty};
}

AutoencoderNetwork::AutoencoderNetwork(std::uint64_t seed, LatentSpec spec, std::int64_t num_codes)
    : parameters_(seed), spec_(std::move(spec)) {
  const Scope scope = Scope(parameters_) / "latent";
  const std::int64_t numbers = spec_.channels * (1 + spec_.globals);
  mean_ = scope.add("mean", {numbers}, Init::zeros());
  square_ = scope.add("square", {numbers}, Init::ones());
  if (num_codes > 0) codes_ = scope.add("codes", {num_codes, spec_.channels}, Init::normal(1.0));
}

LatentSpec AutoencoderNetwork::latent() const {
  constexpr double kLeastVariance = 1e-8;
  LatentSpec spec = spec_;
  const at::Tensor mean = mean_.detach().to(at::kCPU, at::kDouble), square = square_.detach().to(at::kCPU, at::kDouble);
  const at::Tensor scale = (square - mean.square()).clamp_min(kLeastVariance).rsqrt();
  spec.shift.assign(mean.const_data_ptr<double>(), mean.const_data_ptr<double>() + mean.numel());
  spec.scale.assign(scale.const_data_ptr<double>(), scale.const_data_ptr<double>() + scale.numel());
  return spec;
}

Posterior AutoencoderNetwork::encode(const at::Tensor& x) const {
  const at::Tensor out = moments(x).to(at::kFloat);
  if (codes_.defined()) return {out};
  const auto halves = out.chunk(2, 1);
  return {halves[0], halves[1].clamp(-30.0, 20.0)};
}

at::Tensor AutoencoderNetwork::decode(const at::Tensor& z) const {
  return decoded(codes_.defined() ? quantised(z, codes_, 0.0).z : z).to(at::kFloat);
}

void AutoencoderNetwork::note(const at::Tensor& z) const {
  const c10::NoGradGuard no_grad;
  const auto means = [&](const at::Tensor& all) {
    if (spec_.globals == 0) return all.movedim(1, 0).flatten(1).mean(1);
    const auto parts = all.split_with_sizes({all.size(2) - spec_.globals, spec_.globals}, 2);
    return at::cat({parts[0].mean(at::IntArrayRef{0, 2}), parts[1].mean(0).flatten()});
  };
  const at::Tensor all = z.detach().to(at::kFloat);
  mean_.detach().copy_(means(all));
  square_.detach().copy_(means(all.square()));
}

at::Tensor latents_for_denoiser(const LatentSpec& spec, const at::Tensor& z) {
  return (z - per_number(spec, spec.shift, z)) * per_number(spec, spec.scale, z);
}

at::Tensor latents_from_denoiser(const LatentSpec& spec, const at::Tensor& x) {
  return x / per_number(spec, spec.scale, x) + per_number(spec, spec.shift, x);
}

std::unique_ptr<Autoencoder> tiled(std::shared_ptr<const Autoencoder> whole, Tiling tiling) {
  return std::make_unique<TiledAutoencoder>(std::move(whole), tiling);
}

}  // namespace thaw
