#include "modalities/points/point_autoencoder.h"

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "modalities/points/list.h"

namespace thaw::points {

namespace {

// Log variance of all latents at the start, a deviation of 0.05 where data has 1: noise that moves no point to the
// place of another, and through which the decoder hears the global latent from the first step on. LION's code subtracts
// an offset from log deviations of latent points (pts_sigma_offset).
constexpr double kFirstLogVariance = -6.0;

LatentSpec spec_of(const PointAutoencoderOptions& options) {
  return {.data_channels = options.data_channels,
          .channels = options.channels(),
          .factors = {1},
          .globals = options.globals};
}

}  // namespace

at::Tensor pooled(const at::Tensor& x_NKD) {
  return at::cat({x_NKD.amax({1}, true), x_NKD.mean(1, true)}, 2);
}

PooledLayers::PooledLayers(const Scope& scope, std::int64_t in, std::int64_t features, std::int64_t depth,
                           std::int64_t context, bool pools)
    : points_(scope / "points", in, features), norm_(scope / "norm", features, true) {
  for (std::int64_t i = 0; i < depth; ++i) {
    const Scope own = scope / "blocks" / static_cast<std::size_t>(i);
    blocks_.push_back({nn::LayerNorm(own / "norm", features, context == 0),
                       nn::Linear(own / "mlp1", features, 2 * features),
                       pools ? nn::Linear(own / "pool", 4 * features, 2 * features) : nn::Linear(),
                       nn::Linear(own / "mlp2", 2 * features, features),
                       context > 0 ? nn::Linear(own / "modulate", context, 3 * features, 0.0) : nn::Linear()});
  }
}

at::Tensor PooledLayers::operator()(const at::Tensor& x_NKC, const at::Tensor& context_N1E) const {
  at::Tensor h = points_(x_NKC);
  for (const Block& block : blocks_) {
    at::Tensor own = block.norm(h), gate;
    if (context_N1E.defined()) {
      const auto m = block.modulate(context_N1E).chunk(3, 2);
      own = at::addcmul(m[0], own, m[1] + 1);
      gate = m[2] + 1;
    }
    own = block.mlp1(own);
    if (block.pool.weight.defined()) own = own + block.pool(pooled(own));
    own = block.mlp2(at::gelu(own, "tanh"));
    h = gate.defined() ? at::addcmul(h, gate, own) : h + own;
  }
  return norm_(h);
}

PointAutoencoder::PointAutoencoder(const PointAutoencoderOptions& options, std::uint64_t seed)
    : AutoencoderNetwork(seed, spec_of(options), 0), options_(options) {
  const Scope encoder = Scope(own_parameters()) / "encoder", decoder = Scope(own_parameters()) / "decoder";
  const std::int64_t d = options.features, channels = options.channels(), numbers = channels * options.globals;
  whole_ = PooledLayers(encoder / "whole", options.data_channels, d, options.depth, 0);
  globals1_ = nn::Linear(encoder / "globals1", 2 * d, 2 * d);
  globals2_ = nn::Linear(encoder / "globals2", 2 * d, 2 * numbers);
  local_told1_ = nn::Linear(encoder / "told1", numbers, d);
  local_told2_ = nn::Linear(encoder / "told2", d, d);
  local_ = PooledLayers(encoder / "local", options.data_channels, d, options.depth, d);
  latents_ = nn::Linear(encoder / "latents", d, 2 * channels, 0.0);
  decoder_told1_ = nn::Linear(decoder / "told1", numbers, d);
  decoder_told2_ = nn::Linear(decoder / "told2", d, d);
  decoder_ = PooledLayers(decoder / "local", channels, d, options.depth, d, options.decoder_pools);
  out_ = nn::Linear(decoder / "out", d, options.data_channels, 0.0);
}

at::Tensor PointAutoencoder::told(const nn::Linear& first, const nn::Linear& second, const at::Tensor& globals_NCG) {
  return at::silu(second(at::silu(first(globals_NCG.flatten(1)))).unsqueeze(1));
}

at::Tensor PointAutoencoder::moments(const at::Tensor& x) const {
  const at::Tensor x_NKC = x.transpose(1, 2);
  const std::int64_t channels = options_.channels();
  const at::Tensor whole_N2CG = globals2_(at::silu(globals1_(pooled(whole_(x_NKC)).squeeze(1))))
                                    .reshape({x.size(0), 2 * channels, options_.globals});
  const auto whole = whole_N2CG.chunk(2, 1);
  const at::Tensor context = told(local_told1_, local_told2_, whole[0]);
  const at::Tensor local_N2CK = latents_(local_(x_NKC, context)).transpose(1, 2);
  // The points themselves, zeros for the channels beside them, and log variances.
  const at::Tensor start = at::cat({x, at::zeros_like(x.narrow(1, 0, 1)).expand({-1, options_.local_channels, -1}),
                                    at::full_like(x.narrow(1, 0, 1), kFirstLogVariance).expand({-1, channels, -1})},
                                   1);
  return at::cat({start + local_N2CK, at::cat({whole[0], whole[1] + kFirstLogVariance}, 1)}, 2);
}

at::Tensor PointAutoencoder::decoded(const at::Tensor& z) const {
  const std::int64_t points = z.size(2) - options_.globals;
  if (points < 1)
    throw DataError(concat("backbone \"point_autoencoder\": of ", z.size(2), " columns of latents the last ",
                           options_.globals, " are of the whole cloud, and none is left for points."));
  const at::Tensor local_NCK = z.narrow(2, 0, points);
  const at::Tensor context = told(decoder_told1_, decoder_told2_, z.narrow(2, points, options_.globals));
  return local_NCK.narrow(1, 0, options_.data_channels) +
         out_(decoder_(local_NCK.transpose(1, 2), context)).transpose(1, 2);
}

void register_point_autoencoder(BackboneRegistry& registry) {
  registry.add(
      {{"point_autoencoder",
        "Clouds to latents, a few numbers a point and a few columns of the whole, and back, point by point.",
        "Zeng et al. 2022 (LION), section 3.1, in small",
        {{"local_channels", std::int64_t{1}, "numbers of a point's latents beside those of the point", 0, 256},
         {"globals", std::int64_t{8}, "columns of the cloud as a whole behind those of the points", 1, 4096},
         {"features", std::int64_t{64}, "width of a point", 4, 16384},
         {"depth", std::int64_t{3}, "layers of each of the two encoders and of the decoder", 1, 256},
         {"decoder_pools", true, "the decoder sees all latent points; else each alone beside the global latent"}},
        {"autoencoder"}},
       [](const Settings& settings, const DataSpec& spec, std::uint64_t seed) -> std::unique_ptr<Backbone> {
         if (spec.shape.size() != 2 || spec.shape[0] < 3)
           settings.fail("type",
                         concat("works on clouds [3 or more, points], the data is ", at::IntArrayRef(spec.shape), "."));
         return std::make_unique<PointAutoencoder>(
             PointAutoencoderOptions{spec.shape[0], settings.integer("local_channels"), settings.integer("globals"),
                                     settings.integer("features"), settings.integer("depth"),
                                     settings.flag("decoder_pools")},
             seed);
       }});
}

}  // namespace thaw::points
