#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3")
#endif

#include "modalities/points/assignment.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace thaw::points {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int kRowRounds = 6;  // more of them leave fewer paths, which are shorter than the rounds by then

}  // namespace

void Assignment::solve(std::span<const float> cost, std::int64_t n) {
  cost_ = cost.data();
  n_ = static_cast<std::int32_t>(n);
  const auto size = static_cast<std::size_t>(n);
  price_.assign(size, kInfinity);
  column_of_.assign(size, -1);
  row_of_.assign(size, -1);
  matches_.assign(size, 0);
  free_.clear();
  if (n == 0) return;
  reduce_columns();
  transfer_reductions();
  for (int round = 0; round < kRowRounds; ++round) reduce_rows();
  const std::vector<std::int32_t> left = std::move(free_);
  for (const std::int32_t row : left) augment(row);
}

double Assignment::total() const {
  double sum = 0.0;
  for (std::int32_t i = 0; i < n_; ++i)
    sum += cost_[static_cast<std::int64_t>(i) * n_ + column_of_[static_cast<std::size_t>(i)]];
  return sum;
}

double Assignment::lower_bound() const {
  double sum = 0.0;
  for (std::int32_t i = 0; i < n_; ++i) {
    const float* row = cost_ + static_cast<std::int64_t>(i) * n_;
    double least = kInfinity;
    for (std::int32_t j = 0; j < n_; ++j) least = std::min(least, row[j] - price_[static_cast<std::size_t>(j)]);
    sum += least + price_[static_cast<std::size_t>(i)];
  }
  return sum;
}

// Each column takes its cheapest row; a row that several want goes to the last of them.
void Assignment::reduce_columns() {
  std::vector<std::int32_t> cheapest(static_cast<std::size_t>(n_), 0);
  for (std::int32_t i = 0; i < n_; ++i) {
    const float* row = cost_ + static_cast<std::int64_t>(i) * n_;
    for (std::int32_t j = 0; j < n_; ++j)
      if (row[j] < price_[static_cast<std::size_t>(j)]) {
        price_[static_cast<std::size_t>(j)] = row[j];
        cheapest[static_cast<std::size_t>(j)] = i;
      }
  }
  for (std::int32_t j = n_ - 1; j >= 0; --j) {
    const auto row = static_cast<std::size_t>(cheapest[static_cast<std::size_t>(j)]);
    if (++matches_[row] > 1) continue;
    column_of_[row] = j;
    row_of_[static_cast<std::size_t>(j)] = static_cast<std::int32_t>(row);
  }
}

// A row with one column alone gives up what it gains over its second choice.
void Assignment::transfer_reductions() {
  for (std::int32_t i = 0; i < n_; ++i) {
    const auto place = static_cast<std::size_t>(i);
    if (matches_[place] == 0) free_.push_back(i);
    if (matches_[place] != 1) continue;
    const std::int32_t own = column_of_[place];
    const float* row = cost_ + static_cast<std::int64_t>(i) * n_;
    double least = kInfinity;
    for (std::int32_t j = 0; j < n_; ++j)
      if (j != own) least = std::min(least, row[j] - price_[static_cast<std::size_t>(j)]);
    if (least < kInfinity) price_[static_cast<std::size_t>(own)] -= least;
  }
}

void Assignment::reduce_rows() {
  const std::vector<std::int32_t> queue = std::move(free_);
  free_.clear();
  for (const std::int32_t i : queue) {
    const float* row = cost_ + static_cast<std::int64_t>(i) * n_;
    double first = kInfinity, second = kInfinity;
    std::int32_t j1 = 0, j2 = 0;
    for (std::int32_t j = 0; j < n_; ++j) {
      const double reduced = row[j] - price_[static_cast<std::size_t>(j)];
      if (reduced >= second) continue;
      second = reduced < first ? first : reduced;
      j2 = reduced < first ? j1 : j;
      if (reduced < first) first = reduced, j1 = j;
    }
    const double lowered = price_[static_cast<std::size_t>(j1)] - (second - first);
    const bool is_cheaper = second < kInfinity && lowered < price_[static_cast<std::size_t>(j1)];
    std::int32_t other = row_of_[static_cast<std::size_t>(j1)];
    if (is_cheaper) {
      price_[static_cast<std::size_t>(j1)] = lowered;
    } else if (other >= 0 && second < kInfinity) {
      j1 = j2;
      other = row_of_[static_cast<std::size_t>(j1)];
    }
    column_of_[static_cast<std::size_t>(i)] = j1;
    row_of_[static_cast<std::size_t>(j1)] = i;
    if (other < 0) continue;
    column_of_[static_cast<std::size_t>(other)] = -1;
    // Its turn comes in the next round. At once, as in LAPJV, rows that want the same columns outbid each other by less
    // and less: between clouds of points that took four fifths of the time.
    free_.push_back(other);
  }
}

// Dijkstra over reduced costs from a free row to a free column, which is returned; prices are brought up to date.
std::int32_t Assignment::shortest_path(std::int32_t row) {
  const auto size = static_cast<std::size_t>(n_);
  distance_.resize(size);
  before_.assign(size, row);
  is_done_.assign(size, 0);
  scanned_.clear();
  const float* costs = cost_ + static_cast<std::int64_t>(row) * n_;
  for (std::size_t j = 0; j < size; ++j) distance_[j] = costs[j] - price_[j];
  while (true) {
    std::size_t next = size;
    double least = kInfinity;
    for (std::size_t j = 0; j < size; ++j)
      if (is_done_[j] == 0 && distance_[j] < least) least = distance_[j], next = j;
    if (row_of_[next] < 0) {
      for (const std::int32_t j : scanned_)
        price_[static_cast<std::size_t>(j)] += distance_[static_cast<std::size_t>(j)] - least;
      return static_cast<std::int32_t>(next);
    }
    is_done_[next] = 1;
    scanned_.push_back(static_cast<std::int32_t>(next));
    const std::int32_t through = row_of_[next];
    const float* other = cost_ + static_cast<std::int64_t>(through) * n_;
    const double offset = other[next] - price_[next] - least;
    for (std::size_t j = 0; j < size; ++j) {
      const double reached = other[j] - price_[j] - offset;
      const bool is_nearer = is_done_[j] == 0 && reached < distance_[j];
      distance_[j] = is_nearer ? reached : distance_[j];
      before_[j] = is_nearer ? through : before_[j];
    }
  }
}

void Assignment::augment(std::int32_t row) {
  std::int32_t column = shortest_path(row);
  while (true) {
    const std::int32_t i = before_[static_cast<std::size_t>(column)];
    row_of_[static_cast<std::size_t>(column)] = i;
    std::swap(column, column_of_[static_cast<std::size_t>(i)]);
    if (i == row) return;
  }
}

}  // namespace thaw::points
