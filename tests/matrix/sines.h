#pragma once
// Sounds that need no file: two sines each, whose pitch is the label.

#include <ATen/ATen.h>

#include "core/dataset.h"

namespace thaw::test {

class Sines : public Dataset {
 public:
  std::int64_t size() const override { return 64; }
  std::int64_t num_classes() const override { return 3; }
  Example get(std::int64_t index) const override {
    const std::int64_t label = index % 3;
    const at::Tensor angle = at::arange(64, at::kFloat) * (0.2 * static_cast<double>(label + 1)) + 0.7 * index;
    return {(0.5 * angle.sin() + 0.3 * (2.5 * angle).sin()).unsqueeze(0), {{"label", at::full({}, label, at::kLong)}}};
  }
};

inline void register_sines(DatasetRegistry& registry) {
  registry.add({{"sines", "Two sines.", "", {}, {}}, [](const Settings&) { return std::make_shared<Sines>(); }});
}

}  // namespace thaw::test
