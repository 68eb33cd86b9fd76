#include "core/math/brownian.h"

#include <algorithm>
#include <cmath>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {
namespace {

constexpr std::uint32_t kCells = std::uint32_t{1} << kPathDepth;
constexpr double kSpan = kPathLambdaMax - kPathLambdaMin;
constexpr std::size_t kChunk = 64;  // elements walked down the tree together, one block of the generator

// W at a lattice point for elements [first, first + count): from W(0) = 0 and W(end) by midpoints, a Brownian bridge
// over [a, b] having mean (W(a) + W(b)) / 2 and variance (b - a) / 4 in its middle.
void walk_down(double* out, std::size_t first, std::size_t count, NoiseKey key, std::uint32_t index) {
  double low[kChunk] = {}, high[kChunk];
  float z[kChunk];
  const auto draw = [&](std::uint32_t node) {
    key.draw = node;
    fill_normal(std::span(z, count), key, first);
  };
  draw(0);
  for (std::size_t i = 0; i < count; ++i) high[i] = std::sqrt(kSpan) * static_cast<double>(z[i]);
  std::uint32_t begin = 0, end = kCells, node = 1;
  double length = kSpan;
  while (index != begin && index != end) {
    draw(node);
    const double spread = 0.5 * std::sqrt(length);
    const std::uint32_t middle = begin + (end - begin) / 2;
    const bool goes_right = index >= middle;
    double* moved = goes_right ? low : high;
    for (std::size_t i = 0; i < count; ++i) moved[i] = 0.5 * (low[i] + high[i]) + spread * static_cast<double>(z[i]);
    (goes_right ? begin : end) = middle;
    node = 2 * node + (goes_right ? 1 : 0);
    length *= 0.5;
  }
  std::copy_n(index == begin ? low : high, count, out);
}

void fill_point(std::span<double> out, const NoiseKey& key, std::uint32_t index) {
  for (std::size_t first = 0; first < out.size(); first += kChunk)
    walk_down(out.data() + first, first, std::min(kChunk, out.size() - first), key, index);
}

NoiseKey path_key(NoiseKey key) {
  key.purpose = Purpose::kPath;
  return key;
}

}  // namespace

std::uint32_t path_lattice_index(double lambda) {
  const double clamped = std::clamp(lambda, kPathLambdaMin, kPathLambdaMax);
  return static_cast<std::uint32_t>(std::nearbyint((clamped - kPathLambdaMin) / kSpan * kCells));
}

void fill_path_increment(std::span<float> out, const NoiseKey& key, double from, double to) {
  PathNoise(key, out.size()).fill(out, from, to);
}

PathNoise::PathNoise(const NoiseKey& key, std::size_t num_elements)
    : key_(path_key(key)), num_elements_(num_elements) {}

const std::vector<double>& PathNoise::at(std::uint32_t index, const std::vector<double>* keep) {
  for (const Point& point : points_)
    if (point.is_set && point.index == index) return point.values;
  Point& point = &points_[0].values == keep ? points_[1] : points_[0];
  point.values.resize(num_elements_);
  fill_point(point.values, key_, index);
  point.is_set = true;
  point.index = index;
  return point.values;
}

void PathNoise::fill(std::span<float> out, double from, double to) {
  const std::uint32_t begin = path_lattice_index(from), end = path_lattice_index(to);
  if (begin >= end || out.size() != num_elements_)
    throw Error(ExitCode::kBug,
                concat("path noise: lambda ", from, " to ", to, ", ", out.size(), " of ", num_elements_, " elements"));
  // Look the shared end up first so that its slot is not the one overwritten.
  const bool has_end = (points_[0].is_set && points_[0].index == end) || (points_[1].is_set && points_[1].index == end);
  const std::vector<double>& first = at(has_end ? end : begin, nullptr);
  const std::vector<double>& second = at(has_end ? begin : end, &first);
  const std::vector<double>& low = has_end ? second : first;
  const std::vector<double>& high = has_end ? first : second;
  const double scale = 1.0 / std::sqrt(static_cast<double>(end - begin) * (kSpan / kCells));
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>((high[i] - low[i]) * scale);
}

}  // namespace thaw
