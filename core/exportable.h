#pragma once
// Networks of our own whose weights another library reads as they are.

#include <cstdint>
#include <string>

#include "core/nn/parameters.h"

namespace thaw {

class Exportable {
 public:
  virtual ~Exportable() = default;
  /// config.json of diffusers. rate: of the data a second, 0 where it has none.
  virtual std::string published_config(std::int64_t rate) const = 0;
  /// Under the names that diffusers gives them.
  virtual NamedTensors published_weights() const = 0;
};

}  // namespace thaw
