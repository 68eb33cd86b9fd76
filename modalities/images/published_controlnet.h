#pragma once
// ControlNetModel of diffusers. Zhang et al. 2023.

#include <memory>
#include <vector>

#include "core/backbone.h"
#include "core/published.h"

namespace thaw::image {

class ControlNet {
 public:
  virtual ~ControlNet() = default;
  /// Reads what its UNet reads of the condition, and "control": the picture [N, C, H, W] it was made for, in [0, 1].
  /// Returns "down_residual.0" ... and "middle_residual" times `scale`. Throws DataError.
  virtual Condition residuals(const at::Tensor& x, const at::Tensor& noise, const Condition& condition,
                              double scale) const = 0;
  virtual const Parameters& parameters() const = 0;
};

std::unique_ptr<ControlNet> make_published_controlnet(PublishedConfig& config, PublishedSource source);

struct ScaledControl {
  std::shared_ptr<const ControlNet> network;
  double scale = 1.0;
};

/// The network with its ControlNets as one backbone; their residuals add. The first reads condition "control", the
/// others "control.1" ...
std::unique_ptr<Backbone> with_control(std::unique_ptr<Backbone> network, std::vector<ScaledControl> controls);

}  // namespace thaw::image
