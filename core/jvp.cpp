#include "core/jvp.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/forward_grad.h>

namespace thaw {

namespace {

class ForwardLevel {
 public:
  ForwardLevel() : index_(torch::autograd::ForwardADLevel::get_next_idx()) {}
  ~ForwardLevel() { torch::autograd::ForwardADLevel::release_idx(index_); }
  ForwardLevel(const ForwardLevel&) = delete;
  ForwardLevel& operator=(const ForwardLevel&) = delete;
  std::int64_t index() const { return static_cast<std::int64_t>(index_); }

 private:
  std::uint64_t index_;
};

}  // namespace

Dual derivative_along(const std::function<at::Tensor(const std::vector<at::Tensor>&)>& function,
                      const std::vector<at::Tensor>& inputs, const std::vector<at::Tensor>& tangents) {
  const c10::NoGradGuard no_grad;
  const ForwardLevel level;
  std::vector<at::Tensor> duals;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    duals.push_back(at::_make_dual(inputs[i].detach(), tangents[i], level.index()));
  const auto [value, tangent] = at::_unpack_dual(function(duals), level.index());
  return {value.clone(), tangent.defined() ? tangent.clone() : at::zeros_like(value)};
}

}  // namespace thaw
