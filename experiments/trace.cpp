#include "experiments/trace.h"

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/checkpoint.h"
#include "core/lanes.h"
#include "experiments/editing.h"

namespace thaw {

namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{8} << 30;

at::Tensor joined(const std::vector<std::vector<at::Tensor>>& rows) {
  std::vector<at::Tensor> whole;
  for (const auto& parts : rows) whole.push_back(at::cat(parts));
  return whole.empty() ? at::empty({0}) : at::stack(whole);
}

}  // namespace

void Trace::keep(std::vector<std::vector<at::Tensor>>& rows, std::size_t row, const at::Tensor& x) {
  if (rows.size() <= row) rows.resize(row + 1);
  const at::Tensor own = x.narrow(0, 0, count_);
  const at::Tensor part = (positions_ > 0 ? repeated(own, positions_) : own).to(at::kCPU).clone();
  bytes_ += part.nbytes();
  if (bytes_ > kMaxBytes)
    throw ResourceError(
        concat("trace: states and estimates exceed ", format_bytes(kMaxBytes), "; trace fewer samples or steps."));
  rows[row].push_back(part);
}

void Trace::begin_batch(std::int64_t count, std::int64_t positions) {
  count_ = count;
  positions_ = positions;
  state_ = call_ = 0;
}

void Trace::begin(const Latent& start) {
  first_ = state_;
  keep(x_, state_++, start.main());
}

void Trace::step(const Latent& x) {
  keep(x_, state_++, x.main());
}

void Trace::correct(const Latent& x) {
  if (state_ - first_ < 2) return;  // before the first step there is nothing to rewrite
  x_[state_ - 1].pop_back();
  keep(x_, state_ - 1, x.main());
}

Denoiser Trace::watched(Denoiser denoiser) {
  return [this, denoiser = std::move(denoiser)](const Latent& x, const Query& query) {
    Query asked = query;
    asked.wanted.affine = false;  // what is kept is the estimate itself
    Outputs outputs = denoiser(x, asked);
    const std::vector<Level> lanes = query.lanes.empty() ? std::vector<Level>{query.at} : query.lanes;
    for (std::size_t k = 0; k < lanes.size(); ++k) {
      if (call_ == alpha_.size()) {
        alpha_.push_back(lanes[k].alpha);
        sigma_.push_back(lanes[k].sigma);
      }
      keep(denoised_, call_++, lane_of(outputs.front().data, k, lanes.size()).main());
    }
    return outputs;
  };
}

void Trace::save(const std::filesystem::path& path) const {
  const at::Tensor x = joined(x_), denoised = joined(denoised_);
  const auto levels = [&](const std::vector<double>& values) {
    return at::tensor(values, at::kDouble).to(x.scalar_type());
  };
  save_tensors(path,
               {{"x", x}, {"denoised", denoised}, {"eval_alpha", levels(alpha_)}, {"eval_sigma", levels(sigma_)}});
}

}  // namespace thaw
