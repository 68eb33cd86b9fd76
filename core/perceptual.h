#pragma once
// A distance of samples as a classifier sees them.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/objective.h"

namespace thaw {

class Classifier;

/// d(a, b)^2 = sum over layers of mean over positions |u(a) - u(b)|^2, with u a layer's activations at one position, of
/// unit length. Zhang et al. 2018 (LPIPS), eq. 1 with all weights 1; rooted, with the smoothing of a pseudo-Huber
/// distance, so that it grows like a distance in data.
class PerceptualDistance {
 public:
  PerceptualDistance() = default;
  /// path: of a classifier's model directory or finished run.
  PerceptualDistance(std::string path, ModelOpener open);

  bool is_used() const { return !path_.empty(); }
  /// Opens it. Throws ConfigError naming `option` where it is no classifier or sees samples of another shape.
  void prepare(const Model& student, const std::string& option);
  /// a, b [N, ...] as the student's data -> [N]; differentiable.
  at::Tensor operator()(const at::Tensor& a, const at::Tensor& b) const;

 private:
  std::string path_;
  ModelOpener open_;
  std::shared_ptr<const Model> model_;
  const Classifier* classifier_ = nullptr;
};

}  // namespace thaw
