#include "modalities/points/voxel_networks.h"

#include <ATen/ATen.h>

#include "core/base/text.h"
#include "core/nn/streaming.h"
#include "modalities/points/cloud_options.h"
#include "modalities/points/list.h"
#include "modalities/points/pvcnn2.h"
#include "modalities/points/voxels.h"

namespace thaw::points {

namespace {

nn::SpaceTimeOptions transformer_options(const VoxelOptions& options) {
  nn::SpaceTimeOptions own;
  own.in_channels = options.in_channels;
  own.out_channels = options.out_channels;
  own.patch = {options.patch, options.patch, options.patch};
  own.features = options.features;
  own.depth = options.depth;
  own.heads = options.heads;
  own.window = options.window;
  own.window_every = options.window_every;
  own.num_classes = options.num_classes;
  own.takes_target = options.takes_target;
  own.takes_guidance = options.takes_guidance;
  own.text_features = options.text_features;
  return own;
}

}  // namespace

VoxelTransformer::VoxelTransformer(const Scope& scope, const VoxelOptions& options)
    : options_(options),
      embed_(scope / "point", options.told()),
      transformer_(scope / "cells", transformer_options(options)),
      point1_(scope / "point1", options.in_channels + options.out_channels, options.features),
      modulate_(scope / "modulate", options.features, 2 * options.features, 0.0),
      point2_(scope / "point2", options.features, options.features),
      out_(scope / "out", options.features, options.out_channels, 0.0) {}

at::Tensor VoxelTransformer::operator()(const at::Tensor& x_NCK, const nn::Told& told) const {
  const at::Tensor places = voxel_places(x_NCK.narrow(1, 0, 3), options_.side);
  const at::Tensor cells = transformer_(averaged_voxels(x_NCK, places, options_.side), told);
  const at::Tensor coarse_NCK = devoxelised(cells, places);
  const auto m = modulate_(embed_(told)).unsqueeze(1).chunk(2, 2);
  at::Tensor h_NKD = point1_(at::cat({x_NCK, coarse_NCK}, 1).transpose(1, 2));
  h_NKD = at::silu(point2_(at::silu(at::addcmul(m[0], h_NKD, m[1] + 1))));
  return coarse_NCK + out_(h_NKD).transpose(1, 2);
}

Conv3d::Conv3d(const Scope& scope, std::int64_t in, std::int64_t out, double gain)
    : weight(scope.add("weight", {out, in, 3, 3, 3}, Init::fan_in(in * 27, gain))),
      bias(scope.add("bias", {out}, Init::zeros())) {}

at::Tensor Conv3d::operator()(const at::Tensor& x_NCRRR) const {
  return at::conv3d(x_NCRRR, nn::here(weight), nn::here(bias), 1, 1);
}

PointVoxelNet::Block::Block(const Scope& scope, const VoxelOptions& options)
    : norm(scope / "norm", options.features, nn::norm_groups(options.features, 8)),
      grid_norm(scope / "grid_norm", options.features, nn::norm_groups(options.features, 8)),
      modulate(scope / "modulate", options.features, 2 * options.features, 0.0),
      point1(scope / "point1", options.features, options.features),
      point2(scope / "point2", options.features, options.features, 0.0),
      whole(scope / "whole", options.features, options.features),
      conv1(scope / "conv1", options.features, options.features),
      conv2(scope / "conv2", options.features, options.features, 0.0) {}

at::Tensor PointVoxelNet::Block::operator()(const at::Tensor& h_NDK, const at::Tensor& embedding_ND,
                                            const at::Tensor& places_N3K, std::int64_t side) const {
  const auto m = modulate(embedding_ND).unsqueeze(2).chunk(2, 1);
  const at::Tensor x_NDK = at::addcmul(m[0], norm(h_NDK), m[1] + 1);
  const at::Tensor grid = conv2(at::silu(grid_norm(conv1(averaged_voxels(x_NDK, places_N3K, side)))));
  const at::Tensor x_NKD = x_NDK.transpose(1, 2);
  const at::Tensor own_NKD = point2(at::silu(point1(x_NKD) + whole(x_NKD.amax(1)).unsqueeze(1)));
  return h_NDK + devoxelised(grid, places_N3K) + own_NKD.transpose(1, 2);
}

PointVoxelNet::PointVoxelNet(const Scope& scope, const VoxelOptions& options)
    : options_(options),
      embed_(scope, options.told()),
      in_(scope / "in", options.in_channels, options.features),
      out_(scope / "out", options.features, options.out_channels, 0.0),
      norm_(scope / "norm", options.features, nn::norm_groups(options.features, 8)) {
  for (std::int64_t i = 0; i < options_.depth; ++i)
    blocks_.emplace_back(scope / "blocks" / static_cast<std::size_t>(i), options_);
}

at::Tensor PointVoxelNet::operator()(const at::Tensor& x_NCK, const nn::Told& told) const {
  const at::Tensor embedding_ND = embed_(told), places = voxel_places(x_NCK.narrow(1, 0, 3), options_.side);
  at::Tensor h_NDK = in_(x_NCK.transpose(1, 2)).transpose(1, 2);
  for (const Block& block : blocks_) h_NDK = block(h_NDK, embedding_ND, places, options_.side);
  return out_(at::silu(norm_(h_NDK)).transpose(1, 2)).transpose(1, 2);
}

namespace {

std::vector<Option> voxel_options(std::vector<Option> own) {
  own.push_back({"side", std::int64_t{16}, "cells a side of the grid", 4, 128});
  own.push_back({"features", std::int64_t{64}, "width of a point and of a cell", 4, 16384});
  return cloud_options(std::move(own));
}

VoxelOptions read_options(const Settings& settings, const DataSpec& spec) {
  auto options = read_cloud_options<VoxelOptions>(settings, spec, 3);
  options.side = settings.integer("side");
  options.features = settings.integer("features");
  options.depth = settings.integer("depth");
  return options;
}

// Below 0.375 the smallest grid has 2 cells a side, where oneDNN's bfloat16 gives wrong derivatives of 3 x 3 x 3
// weights (libtorch 2.11: up to 1e35, against 0.4 % off at 3 and more).
std::vector<Option> pvcnn2_options() {
  return cloud_options(
      {{"width", 1.0, "of every layer, rounded to a multiple of 8; 1: that of PVD", 0.0625, 16.0},
       {"resolution", 1.0, "cells a side of every grid, in PVD's 32, 16 and 8", 0.375, 8.0},
       {"radii", std::vector<double>{0.1, 0.2, 0.4, 0.8},
        "around the K/2, K/8, K/32 and K/128 (at least 1) of K points that stages keep, within which 32 neighbours are "
        "sought; for data of unit variance; with fewer than PVD's 2048 points larger ones find more",
        1e-6, 1e6},
       {"attention", true, "among the cells of the second stage and among the points of the last, as PVD's"},
       {"dropout", 0.1,
        "within convolution blocks and before the last layer, while training; masks are drawn on the CPU", 0.0, 0.95},
       {"exact",
        std::string("none"),
        "pvd: the first point starts the sampling and the first 32 within a radius are neighbours, so that results "
        "depend on the order of points, as in PVD's code; none: the point farthest from the mean, and the nearest 32",
        0,
        0,
        {"none", "pvd"}}});
}

std::unique_ptr<Backbone> make_pvcnn2(const Settings& settings, const DataSpec& spec, std::uint64_t seed) {
  constexpr std::int64_t kFewest = 8;
  auto options = read_cloud_options<Pvcnn2Options>(settings, spec, 3);
  if (spec.shape[1] < kFewest)
    settings.fail("type", concat("works on clouds of ", kFewest,
                                 " points or more, whose second stage keeps one in 8; the data is ",
                                 at::IntArrayRef(spec.shape), "."));
  options.width = settings.number("width");
  options.resolution = settings.number("resolution");
  options.radii = settings.numbers("radii");
  options.attends = settings.flag("attention");
  options.dropout = settings.number("dropout");
  options.choice = settings.text("exact") == "pvd" ? Choice::kByOrder : Choice::kByPlace;
  if (options.radii.size() != 4)
    settings.fail("radii", concat("needs 4, one for each stage, got ", options.radii.size(), "."));
  return std::make_unique<text::ToldBackbone<Pvcnn2, Pvcnn2Options>>(options, settings, seed);
}

}  // namespace

void register_voxel_networks(BackboneRegistry& registry) {
  registry.add(
      {{"dit3d",
        "Diffusion transformer on patches of a grid of cells around the noisy points.",
        "Mo et al. 2023 (DiT-3D)",
        voxel_options({{"patch", std::int64_t{4}, "cells a side that are one token", 1, 64},
                       {"depth", std::int64_t{6}, "blocks", 1, 256},
                       {"heads", std::int64_t{4}, "attention heads", 1, 256},
                       {"window", std::int64_t{0},
                        "tokens a side that attend to each other in some blocks; 0: all to all in all", 0, 64},
                       {"window_every", std::int64_t{3}, "of so many blocks the first attends in windows", 1, 256}}),
        {}},
       [](const Settings& settings, const DataSpec& spec, std::uint64_t seed) -> std::unique_ptr<Backbone> {
         VoxelOptions options = read_options(settings, spec);
         options.patch = settings.integer("patch");
         options.heads = settings.integer("heads");
         options.window = settings.integer("window");
         options.window_every = settings.integer("window_every");
         if (options.window > 0 && options.side % (options.patch * options.window) != 0)
           settings.fail("window", concat(options.window, " does not divide the ", options.side / options.patch,
                                          " tokens a side."));
         if (options.side % options.patch != 0)
           settings.fail("patch", concat(options.patch, " does not divide side = ", options.side, "."));
         if (options.features % (2 * options.heads) != 0)
           settings.fail("features", concat("must be a multiple of twice the heads, got ", options.features, " with ",
                                            options.heads, " heads."));
         return std::make_unique<text::ToldBackbone<VoxelTransformer, VoxelOptions>>(options, settings, seed);
       }});
  registry.add({{"pvcnn",
                 "Point-voxel convolutions: neighbourhoods on a grid of cells, every point by itself beside them.",
                 "Liu et al. 2019 (PVCNN); Zhou et al. 2021 (PVD)",
                 voxel_options({{"depth", std::int64_t{4}, "blocks", 1, 256}}),
                 {}},
                [](const Settings& settings, const DataSpec& spec, std::uint64_t seed) -> std::unique_ptr<Backbone> {
                  return std::make_unique<text::ToldBackbone<PointVoxelNet, VoxelOptions>>(read_options(settings, spec),
                                                                                           settings, seed);
                }});
  registry.add({{"pvcnn2",
                 "Ever fewer points, with point-voxel convolutions at each number of them, and back: PVD's denoiser.",
                 "Zhou et al. 2021 (PVD); Liu et al. 2019 (PVCNN++)",
                 pvcnn2_options(),
                 {}},
                make_pvcnn2});
}

}  // namespace thaw::points
