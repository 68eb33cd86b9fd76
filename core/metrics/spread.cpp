#include "core/metrics/spread.h"

#include <algorithm>

namespace thaw {

SpreadExamples spread_examples(const Dataset& dataset, std::int64_t n) {
  const std::int64_t size = dataset.size(), count = std::min(n, size);
  SpreadExamples spread;
  for (std::int64_t i = 0; i < count; ++i) spread.indices.push_back(i * size / count);
  spread.batch = gather(dataset, spread.indices);
  return spread;
}

}  // namespace thaw
