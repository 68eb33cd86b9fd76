#include "modalities/points/pvcnn2.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/nn/perturbation.h"
#include "core/nn/streaming.h"
#include "modalities/points/voxels.h"

namespace thaw::points {

namespace {

constexpr std::int64_t kGroups = 8, kNeighbours = 32, kSqueezed = 8;
constexpr double kLeak = 0.1;

struct StageLayout {
  std::int64_t fraction;  // one in so many points is a centre
  std::int64_t features, convolutions, side;
  bool attends;
  std::vector<std::int64_t> widths;
};
// What is built of PVD's sa_blocks: of its three convolutions in the second and third stage only the first is.
const std::array<StageLayout, 4> kStages{{{2, 32, 2, 32, false, {32, 64}},
                                          {8, 64, 1, 16, true, {64, 128}},
                                          {32, 128, 1, 8, false, {128, 256}},
                                          {128, 0, 0, 0, false, {256, 256, 512}}}};

struct WayBackLayout {
  std::vector<std::int64_t> widths;
  std::int64_t features, convolutions, side;
};
const std::array<WayBackLayout, 4> kWaysBack{
    {{{256, 256}, 256, 3, 8}, {{256, 256}, 256, 3, 8}, {{256, 128}, 128, 2, 16}, {{128, 128, 64}, 64, 2, 32}}};

at::Tensor beside(const at::Tensor& h_NDK, const at::Tensor& embedding_ND) {
  return at::cat({h_NDK, embedding_ND.unsqueeze(2).expand({-1, -1, h_NDK.size(2)})}, 1);
}

}  // namespace

Pvcnn2::Mix::Mix(const Scope& scope, std::int64_t in, std::int64_t out, std::size_t ones, double gain) {
  std::vector<std::int64_t> shape{out, in};
  shape.insert(shape.end(), ones, 1);
  weight = scope.add("weight", shape, Init::fan_in(in, gain));
  bias = scope.add("bias", {out}, Init::zeros());
}

at::Tensor Pvcnn2::Mix::operator()(const at::Tensor& x_NC) const {
  std::vector<std::int64_t> shape = x_NC.sizes().vec();
  shape[1] = weight.size(0);
  return at::conv1d(x_NC.flatten(2), nn::here(weight).flatten(1).unsqueeze(2), nn::here(bias)).reshape(shape);
}

Pvcnn2::Layers::Layers(const Scope& scope, std::int64_t in, const std::vector<std::int64_t>& widths, std::size_t ones) {
  for (std::size_t i = 0; i < widths.size(); ++i) {
    mixes.emplace_back(scope / "layers" / (3 * i), in, widths[i], ones);
    norms.emplace_back(scope / "layers" / (3 * i + 1), widths[i], kGroups);
    in = widths[i];
  }
}

at::Tensor Pvcnn2::Layers::operator()(at::Tensor x_NC) const {
  for (std::size_t i = 0; i < mixes.size(); ++i) x_NC = at::silu(norms[i](mixes[i](x_NC)));
  return x_NC;
}

Pvcnn2::Attention::Attention(const Scope& scope, std::int64_t features, std::size_t ones, std::int64_t layer_)
    : q(scope / "q", features, features, ones),
      k(scope / "k", features, features, ones),
      v(scope / "v", features, features, ones),
      out(scope / "out", features, features, ones),
      norm(scope / "norm", features, kGroups),
      layer(layer_) {}

at::Tensor Pvcnn2::Attention::operator()(const at::Tensor& x_ND) const {
  const Perturbation::Kind perturbed = nn::perturbation_of(layer);
  if (perturbed == Perturbation::Kind::kSkippedLayer) return x_ND;
  const at::Tensor flat_NDL = x_ND.flatten(2);
  const auto head = [](const at::Tensor& x_NDL) { return x_NDL.transpose(1, 2).unsqueeze(1); };
  at::Tensor seen_NDL = v(flat_NDL);
  if (perturbed != Perturbation::Kind::kIdentityAttention) {
    // PVD leaves out the division by sqrt(D) that is part of attention().
    const double unscaled = std::sqrt(static_cast<double>(flat_NDL.size(1)));
    seen_NDL =
        nn::attention(head(q(flat_NDL) * unscaled), head(k(flat_NDL)), head(seen_NDL)).squeeze(1).transpose(1, 2);
  }
  return at::silu(norm(x_ND + out(seen_NDL).reshape(x_ND.sizes())));
}

// The numbers 2, 3 and 6 of PVD's list are activation, dropout and activation (or attention).
Pvcnn2::Convolution::Convolution(const Scope& scope, const ConvolutionOptions& options_)
    : options(options_),
      conv1(scope / "voxel_layers" / 0, options.in, options.out),
      conv2(scope / "voxel_layers" / 4, options.out, options.out),
      norm1(scope / "voxel_layers" / 1, options.out, kGroups),
      norm2(scope / "voxel_layers" / 5, options.out, kGroups),
      squeeze(scope / "voxel_layers" / 7 / "fc" / 0, options.out, options.out / kSqueezed, 1.0, false),
      excite(scope / "voxel_layers" / 7 / "fc" / 2, options.out / kSqueezed, options.out, 1.0, false),
      own(scope / "point_features", options.in, {options.out}, 1) {
  if (options.attends) attention.emplace(scope / "voxel_layers" / 6, options.out, 3, 0);
}

at::Tensor Pvcnn2::Convolution::operator()(const at::Tensor& h_NDK, const at::Tensor& places_N3K) const {
  at::Tensor grid = at::silu(norm1(conv1(averaged_voxels(h_NDK, places_N3K, options.side))));
  grid = norm2(conv2(nn::dropout(grid, options.dropout, options.number)));
  grid = attention ? (*attention)(grid) : at::silu(grid);
  const at::Tensor gate_ND = at::sigmoid(excite(at::relu(squeeze(grid.mean({2, 3, 4})))));
  grid = grid * gate_ND.unsqueeze(2).unsqueeze(3).unsqueeze(4);
  return devoxelised(grid, places_N3K) + own(h_NDK);
}

at::Tensor Pvcnn2::Stage::convolved(at::Tensor h_NDK, const at::Tensor& points_N3K) const {
  if (convolutions.empty()) return h_NDK;
  const at::Tensor places_N3K = voxel_places(points_N3K, convolutions.front().options.side);
  for (const Convolution& convolution : convolutions) h_NDK = convolution(h_NDK, places_N3K);
  return h_NDK;
}

std::int64_t Pvcnn2::widened(std::int64_t features) const {
  const double eights = std::round(static_cast<double>(features) * options_.width / kGroups);
  return kGroups * std::max<std::int64_t>(1, static_cast<std::int64_t>(eights));
}

std::vector<std::int64_t> Pvcnn2::widened(std::vector<std::int64_t> widths) const {
  for (std::int64_t& width : widths) width = widened(width);
  return widths;
}

std::int64_t Pvcnn2::add_row(std::vector<Convolution>& all, const Scope& scope, std::int64_t in, const Row& row) {
  const auto side = static_cast<std::int64_t>(static_cast<double>(row.side) * options_.resolution);
  const std::int64_t out = widened(row.features);
  for (std::int64_t i = 0; i < row.count; ++i) {
    all.emplace_back(
        scope / (row.first + all.size()),
        ConvolutionOptions{in, out, side, row.attends && options_.attends, options_.dropout, num_convolutions_++});
    in = out;
  }
  return in;
}

void Pvcnn2::add_stages(const Scope& scope) {
  features_ = options_.in_channels;
  for (std::size_t i = 0; i < kStages.size(); ++i) {
    const StageLayout& layout = kStages[i];
    skipped_.push_back(i == 0 ? options_.in_channels - 3 : features_);
    const std::int64_t in = features_ + (i == 0 ? 0 : Pvcnn2Options::kEmbedding);
    Stage& stage = stages_.emplace_back();
    features_ = add_row(stage.convolutions, scope / i, in,
                        {0, layout.features, layout.convolutions, layout.side, layout.attends});
    // The last stage is no list in PVD's code, since it has no convolution.
    const Scope own = layout.convolutions == 0 ? scope / i : scope / i / stage.convolutions.size();
    stage.layers = Layers(own / "mlps" / 0, features_ + 3, widened(layout.widths), 2);
    features_ = widened(layout.widths.back());
  }
}

void Pvcnn2::add_ways_back(const Scope& scope) {
  for (std::size_t i = 0; i < kWaysBack.size(); ++i) {
    const WayBackLayout& layout = kWaysBack[i];
    const std::int64_t in = features_ + skipped_[kStages.size() - 1 - i] + Pvcnn2Options::kEmbedding;
    Stage& way = ways_back_.emplace_back();
    way.layers = Layers(scope / i / 0 / "mlp", in, widened(layout.widths), 1);
    features_ = add_row(way.convolutions, scope / i, widened(layout.widths.back()),
                        {1, layout.features, layout.convolutions, layout.side, false});
  }
}

Pvcnn2::Pvcnn2(const Scope& scope, const Pvcnn2Options& options) : options_(options) {
  if (options_.radii.size() != kStages.size())
    throw ConfigError(concat("backbone.radii: needs ", kStages.size(), ", got ", options_.radii.size(), "."));
  add_stages(scope / "sa_layers");
  if (options_.attends) attention_.emplace(scope / "global_att", features_, 1, 1);
  add_ways_back(scope / "fp_layers");
  const std::int64_t hidden = widened(128);
  last_ = Layers(scope / "classifier" / 0, features_, {hidden}, 1);
  out_ = Mix(scope / "classifier" / 2, hidden, options_.out_channels, 1, 0.0);
  embed1_ = nn::Linear(scope / "embedf" / 0, Pvcnn2Options::kEmbedding, Pvcnn2Options::kEmbedding);
  embed2_ = nn::Linear(scope / "embedf" / 2, Pvcnn2Options::kEmbedding, Pvcnn2Options::kEmbedding);
  if (options_.is_told_more()) told_.emplace(scope / "told", options_.told());
}

at::Tensor Pvcnn2::embedded(const nn::Told& told) const {
  const nn::Sinusoid level{Pvcnn2Options::kEmbedding, 10000.0, false, 1.0};
  const at::Tensor own_ND = embed2_(at::leaky_relu(embed1_(nn::sinusoidal_embedding(told.noise, level)), kLeak));
  return told_ ? own_ND + (*told_)(told) : own_ND;
}

at::Tensor Pvcnn2::operator()(const at::Tensor& x_NCK, const nn::Told& told) const {
  const at::Tensor embedding_ND = embedded(told);
  at::Tensor h = x_NCK, points_N3K = x_NCK.narrow(1, 0, 3);
  std::vector<at::Tensor> points_of, features_of;
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    points_of.push_back(points_N3K);
    features_of.push_back(i == 0 ? x_NCK.narrow(1, 3, x_NCK.size(1) - 3) : h);
    h = stages_[i].convolved(i == 0 ? h : beside(h, embedding_ND), points_N3K);
    const std::int64_t count = std::max<std::int64_t>(1, x_NCK.size(2) / kStages[i].fraction);
    const at::Tensor centres_N3M = taken_at(points_N3K, farthest_points(points_N3K, count, options_.choice));
    const at::Tensor index_NMU =
        ball_neighbours(centres_N3M, points_N3K, options_.radii[i], kNeighbours, options_.choice);
    const at::Tensor offset_N3MU = taken_at(points_N3K, index_NMU) - centres_N3M.unsqueeze(3);
    h = stages_[i].layers(at::cat({offset_N3MU, taken_at(h, index_NMU)}, 1)).amax({3});
    points_N3K = centres_N3M;
  }
  if (attention_) h = (*attention_)(h);
  for (const Stage& way : ways_back_) {
    const at::Tensor brought_NDK = interpolated(points_of.back(), points_N3K, beside(h, embedding_ND));
    h = way.layers(at::cat({brought_NDK, features_of.back()}, 1));
    points_N3K = points_of.back();
    h = way.convolved(h, points_N3K);
    points_of.pop_back();
    features_of.pop_back();
  }
  return out_(nn::dropout(last_(h), options_.dropout, num_convolutions_));
}

}  // namespace thaw::points
