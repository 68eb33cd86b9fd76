#include "core/metrics/frechet.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/ATen.h>
#include <Eigen/Dense>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/math/philox.h"
#include "core/metrics/distributions.h"

namespace thaw {

namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Matrix to_matrix(const at::Tensor& features) {
  const at::Tensor dense = features.detach().to(at::kCPU, at::kDouble).contiguous();
  return Eigen::Map<const Matrix>(dense.data_ptr<double>(), dense.size(0), dense.size(1));
}

struct Gaussian {
  Eigen::VectorXd mean;
  Eigen::MatrixXd covariance;
};

Gaussian fit(const Matrix& features, CovarianceDivisor divisor = CovarianceDivisor::kDegreesOfFreedom) {
  const Eigen::VectorXd mean = features.colwise().mean();
  const Eigen::MatrixXd centred = features.rowwise() - mean.transpose();
  return {mean, centred.transpose() * centred /
                    static_cast<double>(features.rows() - (divisor == CovarianceDivisor::kCount ? 0 : 1))};
}

Eigen::MatrixXd symmetric_root(const Eigen::MatrixXd& matrix) {
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(matrix);
  return solver.eigenvectors() * solver.eigenvalues().cwiseMax(0.0).cwiseSqrt().asDiagonal() *
         solver.eigenvectors().transpose();
}

double distance(const Gaussian& a, const Eigen::MatrixXd& root_b, const Gaussian& b) {
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(root_b * a.covariance * root_b, Eigen::EigenvaluesOnly);
  const double cross = solver.eigenvalues().cwiseMax(0.0).cwiseSqrt().sum();
  return (a.mean - b.mean).squaredNorm() + a.covariance.trace() + b.covariance.trace() - 2 * cross;
}

void expect_sets(const at::Tensor& a, const at::Tensor& b) {
  if (a.dim() != 2 || b.dim() != 2 || a.size(1) != b.size(1))
    throw DataError(concat("frechet: features of shapes ", a.sizes(), " and ", b.sizes(), " do not compare."));
  if (a.size(0) < 2 || b.size(0) < 2)
    throw DataError(concat("frechet: needs 2 samples a set, got ", a.size(0), " and ", b.size(0), "."));
}

}  // namespace

double frechet_distance(const at::Tensor& features_a, const at::Tensor& features_b, CovarianceDivisor divisor) {
  expect_sets(features_a, features_b);
  const Gaussian b = fit(to_matrix(features_b), divisor);
  return distance(fit(to_matrix(features_a), divisor), symmetric_root(b.covariance), b);
}

Interval frechet_interval(const at::Tensor& features_a, const at::Tensor& features_b, std::uint64_t seed, int resamples,
                          CovarianceDivisor divisor) {
  expect_sets(features_a, features_b);
  const Matrix a = to_matrix(features_a);
  const Gaussian b = fit(to_matrix(features_b), divisor);
  const Eigen::MatrixXd root_b = symmetric_root(b.covariance);
  std::vector<double> values;
  for (int r = 0; r < resamples; ++r) {
    Matrix drawn(a.rows(), a.cols());
    const NoiseKey key{seed, Purpose::kEvaluate, static_cast<std::uint64_t>(r), 0, 0};
    for (Eigen::Index i = 0; i < a.rows(); ++i)
      drawn.row(i) = a.row(static_cast<Eigen::Index>(
          uniform_integer(key, static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(a.rows()))));
    values.push_back(distance(fit(drawn, divisor), root_b, b));
  }
  return resampled_interval(distance(fit(a, divisor), root_b, b), values);
}

Interval proportion_interval(std::int64_t successes, std::int64_t n) {
  constexpr double kZ = 1.959963984540054;
  const double p = static_cast<double>(successes) / static_cast<double>(n), m = static_cast<double>(n);
  const double centre = (p + kZ * kZ / (2 * m)) / (1 + kZ * kZ / m);
  const double half = kZ / (1 + kZ * kZ / m) * std::sqrt(p * (1 - p) / m + kZ * kZ / (4 * m * m));
  // At the ends the bound is the end itself, which rounding misses.
  return {successes == 0 ? 0.0 : centre - half, successes == n ? 1.0 : centre + half};
}

}  // namespace thaw
