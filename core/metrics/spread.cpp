#include "core/metrics/spread.h"

#include <algorithm>

#include "core/math/philox.h"

namespace thaw {

SpreadExamples spread_examples(const Dataset& dataset, std::int64_t n) {
  const std::int64_t size = dataset.size(), count = std::min(n, size);
  SpreadExamples spread;
  for (std::int64_t i = 0; i < count; ++i) {
    // Of each of n equal parts one, at random: at even distances classes that take turns would be met by one alone.
    const double within = uniform({0, Purpose::kEvaluate, static_cast<std::uint64_t>(i), 0, 0}, 0);
    const double place = (static_cast<double>(i) + within) * static_cast<double>(size) / static_cast<double>(count);
    spread.indices.push_back(std::min(static_cast<std::int64_t>(place), size - 1));
  }
  spread.batch = gather(dataset, spread.indices);
  return spread;
}

}  // namespace thaw
