#pragma once
// The cheapest one-to-one assignment.

#include <cstdint>
#include <span>
#include <vector>

namespace thaw::points {

/// Jonker and Volgenant 1987 (LAPJV), exact: column reduction, reduction transfer, rounds of augmenting row reduction
/// in which each free row bids once, then shortest augmenting paths. O(n^3), in practice far less. Duals are kept in
/// double.
class Assignment {
 public:
  /// cost: n x n, row by row, finite. Memory of the duals is kept between calls.
  void solve(std::span<const float> cost, std::int64_t n);

  /// Column of each row, and sum of the costs chosen.
  const std::vector<std::int32_t>& columns() const { return column_of_; }
  double total() const;
  /// A bound from below on every assignment's cost, by the duals: total() within rounding, where the answer is exact.
  double lower_bound() const;

 private:
  void reduce_columns();
  void transfer_reductions();
  void reduce_rows();
  void augment(std::int32_t row);
  std::int32_t shortest_path(std::int32_t row);

  const float* cost_ = nullptr;
  std::int32_t n_ = 0;
  std::vector<double> price_, distance_;
  std::vector<std::int32_t> column_of_, row_of_, free_, before_, scanned_, matches_;
  std::vector<std::uint8_t> is_done_;
};

}  // namespace thaw::points
