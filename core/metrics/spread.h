#pragma once
// Examples that stand for a whole set.

#include "core/dataset.h"

namespace thaw {

/// n examples, one of each nth part of the set, all where it has no more: sets that are read from folders come class by
/// class, so that their first n are of few classes. Which ones is a function of n and the set's size alone. `indices`:
/// where they lie.
struct SpreadExamples {
  std::vector<std::int64_t> indices;
  Batch batch;
};
SpreadExamples spread_examples(const Dataset& dataset, std::int64_t n);

}  // namespace thaw
