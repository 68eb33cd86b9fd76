// GCC 12 keeps the registers of the inner loops full only at O3.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3")
#endif

#include "modalities/points/matching.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace thaw::points {

namespace {

constexpr std::int64_t kLanes = 8;
constexpr float kTiny = 1e-9F;
constexpr float kUnderflow = -87.0F;  // exp below it is no normal number

using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));
using Whole = std::int32_t __attribute__((vector_size(kLanes * sizeof(std::int32_t))));

Lanes load(const float* from) {
  Lanes value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

void store(float* to, const Lanes& value) {
  std::memcpy(to, &value, sizeof value);
}

float sum_of(const Lanes& lanes) {
  float sum = 0.0F;
  for (std::int64_t l = 0; l < kLanes; ++l) sum += lanes[l];
  return sum;
}

// e^x for x <= 0 to a few units in the last place: 2^k e^r with |r| <= ln 2 / 2, e^r by its series to r^7.
Lanes exponential(const Lanes& x) {
  const Lanes bounded = x < kUnderflow ? Lanes{} + kUnderflow : x;
  const Whole k = __builtin_convertvector(bounded * 1.44269504F - 0.5F, Whole);
  const Lanes whole = __builtin_convertvector(k, Lanes);
  // ln 2 in two parts, the first with few bits so that its product with k is exact.
  const Lanes r = bounded - whole * 0.693359375F + whole * 2.12194440e-4F;
  Lanes series = r * (1.0F / 5040) + 1.0F / 720;
  series = series * r + 1.0F / 120;
  series = series * r + 1.0F / 24;
  series = series * r + 1.0F / 6;
  series = series * r + 0.5F;
  series = series * r + 1.0F;
  series = series * r + 1.0F;
  const Whole bits = (k + 127) << 23;
  Lanes power;
  std::memcpy(&power, &bits, sizeof power);
  return x < kUnderflow ? Lanes{} : series * power;
}

/// One pair of clouds. Rows are filled up to whole vectors by places that take no mass.
class Matching {
 public:
  double run(const at::Tensor& a_3n, const at::Tensor& b_3m, bool is_squared) {
    n_ = a_3n.size(1);
    m_ = b_3m.size(1);
    width_ = (m_ + kLanes - 1) / kLanes * kLanes;
    measure(a_3n, b_3m);
    // As the code has it, the quotients are of whole numbers.
    left_n_.assign(static_cast<std::size_t>(n_), n_ >= m_ ? 1.0F : static_cast<float>(m_ / n_));
    left_m_.assign(static_cast<std::size_t>(width_), 0.0F);
    std::fill(left_m_.begin(), left_m_.begin() + m_, n_ >= m_ ? static_cast<float>(n_ / m_) : 1.0F);
    give_.resize(static_cast<std::size_t>(n_));
    take_.resize(static_cast<std::size_t>(width_));
    double total = 0.0;
    for (int j = 7; j >= -2; --j) {
      offer(j == -2 ? 0.0F : -std::pow(4.0F, static_cast<float>(j)));
      total += settle(is_squared);
    }
    return total / static_cast<double>(n_);
  }

 private:
  void measure(const at::Tensor& a_3n, const at::Tensor& b_3m) {
    squared_.assign(static_cast<std::size_t>(n_ * width_), 0.0F);
    weight_.resize(squared_.size());
    const float *a = a_3n.data_ptr<float>(), *b = b_3m.data_ptr<float>();
    for (std::int64_t i = 0; i < n_; ++i)
      for (std::int64_t j = 0; j < m_; ++j) {
        const float x = a[i] - b[j], y = a[n_ + i] - b[m_ + j], z = a[2 * n_ + i] - b[2 * m_ + j];
        squared_[static_cast<std::size_t>(i * width_ + j)] = x * x + y * y + z * z;
      }
  }
  // What each point of a would give by what is left in b, and what each point of b takes of it.
  void offer(float level) {
    wanted_.assign(static_cast<std::size_t>(width_), 0.0F);
    for (std::int64_t i = 0; i < n_; ++i) {
      const float* squared = squared_.data() + i * width_;
      float* weight = weight_.data() + i * width_;
      Lanes sum{};
      for (std::int64_t j = 0; j < width_; j += kLanes) {
        const Lanes w = exponential(load(squared + j) * level);
        store(weight + j, w);
        sum += w * load(left_m_.data() + j);
      }
      const float give = left_n_[static_cast<std::size_t>(i)] / (sum_of(sum) + kTiny);
      give_[static_cast<std::size_t>(i)] = give;
      for (std::int64_t j = 0; j < width_; j += kLanes)
        store(wanted_.data() + j, load(wanted_.data() + j) + give * load(weight + j));
    }
    for (std::size_t j = 0; j < static_cast<std::size_t>(width_); ++j) {
      const float wanted = wanted_[j] * left_m_[j];
      take_[j] = std::min(left_m_[j] / (wanted + kTiny), 1.0F) * left_m_[j];
      left_m_[j] = std::max(left_m_[j] - wanted, 0.0F);
    }
  }
  // Moves the mass; returns what that costs.
  double settle(bool is_squared) {
    double total = 0.0;
    for (std::int64_t i = 0; i < n_; ++i) {
      const float *squared = squared_.data() + i * width_, *weight = weight_.data() + i * width_;
      Lanes moved{}, cost{};
      for (std::int64_t j = 0; j < width_; j += kLanes) {
        const Lanes mass = load(weight + j) * load(take_.data() + j);
        Lanes distance = load(squared + j);
        if (!is_squared)
          for (std::int64_t l = 0; l < kLanes; ++l) distance[l] = std::sqrt(distance[l]);
        moved += mass;
        cost += mass * distance;
      }
      const float give = give_[static_cast<std::size_t>(i)];
      float& left = left_n_[static_cast<std::size_t>(i)];
      left = std::max(left - give * sum_of(moved), 0.0F);
      total += static_cast<double>(give) * static_cast<double>(sum_of(cost));
    }
    return total;
  }

  std::int64_t n_ = 0, m_ = 0, width_ = 0;
  std::vector<float> squared_, weight_, left_n_, left_m_, give_, take_, wanted_;
};

}  // namespace

double approximate_match(const at::Tensor& a_3n, const at::Tensor& b_3m, bool is_squared) {
  thread_local Matching matching;  // keeps its memory from pair to pair
  return matching.run(a_3n, b_3m, is_squared);
}

}  // namespace thaw::points
