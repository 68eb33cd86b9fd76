#pragma once
// What published work means by its numbers: which normalisation, which distances, under the name of each protocol.

#include <span>
#include <string>
#include <vector>

#include "modalities/points/clouds.h"
#include "modalities/points/distances.h"

namespace thaw::points {

struct Protocol {
  std::string name;
  Normalisation normalisation = Normalisation::kNone;
  double factor = 1.0;  // behind the normalisation
  std::vector<Distance> distances{};
  std::string source;
  std::string normalisation_text;
};

/// pvd, pointflow, lion-global, lion-box, luo.
std::span<const Protocol> protocols();
/// Throws std::out_of_range for other names, which options refuse before.
const Protocol& protocol_named(const std::string& name);

/// x y z of both sets [N, C, K] as the protocol sees them.
at::Tensor prepared(const at::Tensor& raw_NCK, const Protocol& protocol);

}  // namespace thaw::points
