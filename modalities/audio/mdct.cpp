#include "modalities/audio/mdct.h"

#include <numbers>
#include <stdexcept>

#include <ATen/ATen.h>

#include "core/base/text.h"

namespace thaw::audio {

Mdct::Mdct(std::int64_t frequencies) : frequencies_(frequencies) {
  const auto f = static_cast<double>(frequencies);
  const at::Tensor n = at::arange(2 * frequencies, at::kDouble) + 0.5, k = at::arange(frequencies, at::kDouble) + 0.5;
  window_ = at::sin(n * (std::numbers::pi / (2.0 * f)));
  const at::Tensor angle = (n + f / 2.0).unsqueeze(1) * k.unsqueeze(0) * (std::numbers::pi / f);
  basis_ = (window_.unsqueeze(1) * at::cos(angle) * std::sqrt(2.0 / f)).to(at::kFloat);
  window_ = window_.to(at::kFloat);
}

at::Tensor Mdct::forward(const at::Tensor& sound_NT) const {
  if (sound_NT.size(1) % frequencies_ != 0)
    throw std::invalid_argument(concat("mdct: ", sound_NT.size(1), " samples are no multiple of ", frequencies_));
  const std::int64_t before = frequencies_ / 2, behind = frequencies_ - before;
  const at::Tensor frames_NKn =
      at::constant_pad_nd(sound_NT, {before, behind}).unfold(1, 2 * frequencies_, frequencies_);
  return at::matmul(frames_NKn, basis_.to(sound_NT.device())).transpose(1, 2);
}

at::Tensor Mdct::inverse(const at::Tensor& x_NFK) const {
  const std::int64_t n = x_NFK.size(0), k = x_NFK.size(2), f = frequencies_;
  const at::Tensor frames_NKn = at::matmul(x_NFK.transpose(1, 2), basis_.to(x_NFK.device()).t());
  const at::Tensor sound = at::zeros({n, k + 1, f}, x_NFK.options());
  sound.narrow(1, 0, k).add_(frames_NKn.narrow(2, 0, f));
  sound.narrow(1, 1, k).add_(frames_NKn.narrow(2, f, f));
  // What one frame alone covers is its window's square there times the sample: its mirror image is a zero.
  const at::Tensor square = window_.to(x_NFK.device()).square();
  const std::int64_t before = f / 2, behind = f - before;
  sound.select(1, 0).narrow(1, before, f - before).div_(square.narrow(0, before, f - before));
  sound.select(1, k).narrow(1, 0, f - behind).div_(square.narrow(0, f, f - behind));
  return sound.reshape({n, (k + 1) * f}).narrow(1, before, k * f).contiguous();
}

}  // namespace thaw::audio
