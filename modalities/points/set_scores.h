#pragma once
// What a set of samples is worth against a set of references, from the distances between them.
// S samples, R references

#include <ATen/core/Tensor.h>

namespace thaw::points {

/// Achlioptas et al. 2018, section 4. `nearest_R`: of each reference the distance to the nearest sample, whose mean is
/// MMD; `is_covered_R`: whether it is the nearest reference of any sample, whose share is COV. The other orientation
/// (samples that are nearest to some reference) is another number, which some code reports under the same name.
struct Coverage {
  at::Tensor nearest_R, is_covered_R;
};
Coverage coverage_of(const at::Tensor& sample_to_reference_SR);

/// Lopez-Paz and Oquab 2017; Yang et al. 2019 (PointFlow): how many of S + R clouds have their nearest other one in
/// their own set. Half of them where the sets are of one distribution. Of equal distances the reference counts first.
/// Matrices that are not symmetric are read by columns, from all others to one, as the code of PointFlow and PVD does.
std::int64_t own_neighbours(const at::Tensor& reference_RR, const at::Tensor& sample_to_reference_SR,
                            const at::Tensor& sample_SS);

/// Jensen-Shannon divergence in bits between where the points of two sets [N, 3, K] lie, on the cells of a 28^3 grid
/// over [-1/2, 1/2]^3 whose middles lie within the sphere of radius 1/2 (Achlioptas et al. 2018, and their code). What
/// lies outside counts for the nearest cell.
double occupancy_divergence(const at::Tensor& samples_N3K, const at::Tensor& references_N3K);

}  // namespace thaw::points
