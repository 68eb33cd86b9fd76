#include "modalities/points/protocols.h"

#include <stdexcept>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw::points {

std::span<const Protocol> protocols() {
  static const std::string own = "coordinates as they are",
                           box = "each cloud's bounding box in the middle, longest side ";
  static const std::vector<Protocol> all{{"pvd",
                                          Normalisation::kNone,
                                          1.0,
                                          {Distance::kChamfer, Distance::kEmdPvd},
                                          "Zhou et al. 2021 (PVD), its code",
                                          own},
                                         {"pointflow",
                                          Normalisation::kNone,
                                          1.0,
                                          {Distance::kChamfer, Distance::kEmdPointflow},
                                          "Yang et al. 2019 (PointFlow), its code",
                                          own},
                                         {"lion-global",
                                          Normalisation::kNone,
                                          1.0,
                                          {Distance::kChamfer, Distance::kEmdPvd},
                                          "Zeng et al. 2022 (LION), table 1, its code",
                                          own},
                                         {"lion-box",
                                          Normalisation::kUnitBox,
                                          0.5,
                                          {Distance::kChamfer, Distance::kEmdPvd},
                                          "Zeng et al. 2022 (LION), table 2, its code",
                                          box + "1"},
                                         {"luo",
                                          Normalisation::kUnitBox,
                                          1.0,
                                          {Distance::kChamfer},
                                          "Luo and Hu 2021, their code, which has no EMD",
                                          box + "2"}};
  return all;
}

const Protocol& protocol_named(const std::string& name) {
  for (const Protocol& protocol : protocols())
    if (protocol.name == name) return protocol;
  throw std::out_of_range(name);
}

at::Tensor prepared(const at::Tensor& raw_NCK, const Protocol& protocol) {
  const at::Tensor points = raw_NCK.narrow(1, 0, 3).to(at::kCPU, at::kFloat);
  if (const at::Tensor bad = at::isfinite(points).flatten(1).all(1).logical_not().nonzero(); bad.numel() > 0)
    throw DataError(concat("cloud ", bad[0].item<std::int64_t>(), " of ", points.size(0),
                           " holds numbers that are not finite, and cannot be measured."));
  return (normalised(points, protocol.normalisation) * protocol.factor).contiguous();
}

}  // namespace thaw::points
