#include "core/nn/packing.h"

#include <algorithm>
#include <numeric>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw::nn {

Packing pack(const std::vector<std::int64_t>& counts, std::int64_t length) {
  for (std::size_t k = 0; k < counts.size(); ++k)
    if (counts[k] < 1 || counts[k] > length)
      throw DataError(concat("packing: sequence ", k, " has ", counts[k], " tokens; rows hold 1 to ", length, "."));
  std::vector<std::size_t> order(counts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return counts[a] > counts[b]; });
  Packing packing;
  packing.spans.resize(counts.size());
  std::vector<std::int64_t> filled;
  for (const std::size_t k : order) {
    auto row = std::ranges::find_if(filled, [&](std::int64_t used) { return used + counts[k] <= length; });
    if (row == filled.end()) row = filled.insert(filled.end(), 0);
    packing.spans[k] = {row - filled.begin(), *row, counts[k]};
    *row += counts[k];
    packing.length = std::max(packing.length, *row);
  }
  packing.rows = static_cast<std::int64_t>(filled.size());
  return packing;
}

at::Tensor Packing::owners() const {
  at::Tensor owners_RL = at::full({rows, length}, -1, at::kLong);
  for (std::size_t k = 0; k < spans.size(); ++k)
    owners_RL[spans[k].row].narrow(0, spans[k].first, spans[k].count).fill_(static_cast<std::int64_t>(k));
  return owners_RL;
}

at::Tensor Packing::mask() const {
  const at::Tensor owners_RL = owners();
  return owners_RL.unsqueeze(2).eq(owners_RL.unsqueeze(1)).unsqueeze(1);
}

at::Tensor Packing::packed(const std::vector<at::Tensor>& sequences) const {
  // By concatenation, not by writing in place: it has a derivative of every kind.
  std::vector<std::vector<std::size_t>> order(static_cast<std::size_t>(rows));
  for (std::size_t k = 0; k < spans.size(); ++k) order[static_cast<std::size_t>(spans[k].row)].push_back(k);
  std::vector<at::Tensor> all;
  for (std::vector<std::size_t>& row : order) {
    std::ranges::sort(row, {}, [&](std::size_t k) { return spans[k].first; });
    std::vector<at::Tensor> parts;
    std::int64_t used = 0;
    for (const std::size_t k : row) {
      parts.push_back(sequences[k]);
      used += spans[k].count;
    }
    parts.push_back(at::zeros({length - used, sequences.front().size(1)}, sequences.front().options()));
    all.push_back(at::cat(parts));
  }
  return at::stack(all);
}

std::vector<at::Tensor> Packing::unpacked(const at::Tensor& rows_RLD) const {
  std::vector<at::Tensor> sequences;
  for (const Span& span : spans) sequences.push_back(rows_RLD[span.row].narrow(0, span.first, span.count));
  return sequences;
}

}  // namespace thaw::nn
