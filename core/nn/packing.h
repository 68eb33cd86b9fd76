#pragma once
// Sequences of different lengths laid behind one another in rows of equal length. Dehghani et al. 2023 (NaViT), 2.1.
// R rows, L length of a row, K sequences

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace thaw::nn {

struct Packing {
  struct Span {
    std::int64_t row = 0, first = 0, count = 0;
  };
  std::vector<Span> spans{};  // of each sequence
  std::int64_t rows = 0, length = 0;

  /// Which sequence each place belongs to, int64 [R, L]; -1 where nothing lies.
  at::Tensor owners() const;
  /// True where both places belong to the same sequence, or to none: bool [R, 1, L, L]. A row that saw nothing would be
  /// a softmax over nothing.
  at::Tensor mask() const;
  /// Sequences [count, D] to [R, L, D], zero where nothing lies; and back.
  at::Tensor packed(const std::vector<at::Tensor>& sequences) const;
  std::vector<at::Tensor> unpacked(const at::Tensor& rows_RLD) const;
};

/// Longest first, each into the first row with room (first fit decreasing: at most 11/9 of the fewest rows, and 6/9 of
/// one). Rows are as long as the fullest. Throws DataError for a sequence longer than `length`, or empty.
Packing pack(const std::vector<std::int64_t>& counts, std::int64_t length);

}  // namespace thaw::nn
