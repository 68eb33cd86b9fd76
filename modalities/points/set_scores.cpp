#include "modalities/points/set_scores.h"

#include <ATen/ATen.h>

#include "modalities/points/nearest.h"

namespace thaw::points {

namespace {

constexpr std::int64_t kCells = 28;

// float32 [3, cells].
at::Tensor sphere_cells() {
  const at::Tensor axis = at::arange(kCells, at::kDouble) / static_cast<double>(kCells - 1) - 0.5;
  const at::Tensor x = axis.reshape({-1, 1, 1}).expand({kCells, kCells, kCells}).flatten();
  const at::Tensor y = axis.reshape({1, -1, 1}).expand({kCells, kCells, kCells}).flatten();
  const at::Tensor z = axis.reshape({1, 1, -1}).expand({kCells, kCells, kCells}).flatten();
  const at::Tensor all = at::stack({x, y, z}).to(at::kFloat);
  return all.index_select(1, (all.norm(2, {0}) <= 0.5).nonzero().flatten()).contiguous();
}

at::Tensor shares_of(const at::Tensor& clouds_N3K, const at::Tensor& cells_3M) {
  const at::Tensor points = clouds_N3K.to(at::kFloat).transpose(0, 1).flatten(1).contiguous();
  const at::Tensor counts = at::zeros({cells_3M.size(1)}, at::kDouble);
  double* count = counts.data_ptr<double>();
  for (const std::int64_t cell : nearest_index(points, cells_3M)) count[cell] += 1.0;
  return counts / counts.sum();
}

double entropy_bits(const at::Tensor& shares) {
  return -at::special_xlogy(shares, shares).sum().item<double>() / std::log(2.0);
}

}  // namespace

Coverage coverage_of(const at::Tensor& sample_to_reference_SR) {
  const at::Tensor covered = at::zeros({sample_to_reference_SR.size(1)}, at::kBool);
  covered.index_fill_(0, sample_to_reference_SR.argmin(1), true);
  return {sample_to_reference_SR.amin({0}), covered};
}

std::int64_t own_neighbours(const at::Tensor& reference_RR, const at::Tensor& sample_to_reference_SR,
                            const at::Tensor& sample_SS) {
  const auto nearest_other = [](const at::Tensor& square) {
    at::Tensor others = square.clone();
    others.fill_diagonal_(std::numeric_limits<double>::infinity());
    return others.amin({0});
  };
  const at::Tensor reference_own = nearest_other(reference_RR) <= sample_to_reference_SR.amin({0});
  const at::Tensor sample_own = nearest_other(sample_SS) < sample_to_reference_SR.amin({1});
  return (reference_own.sum() + sample_own.sum()).item<std::int64_t>();
}

double occupancy_divergence(const at::Tensor& samples_N3K, const at::Tensor& references_N3K) {
  const at::Tensor cells = sphere_cells();
  const at::Tensor p = shares_of(samples_N3K, cells), q = shares_of(references_N3K, cells);
  return entropy_bits((p + q) / 2) - (entropy_bits(p) + entropy_bits(q)) / 2;
}

}  // namespace thaw::points
