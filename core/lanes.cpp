#include "core/lanes.h"

#include <ATen/ATen.h>

namespace thaw {

Latent join_lanes(std::span<const Latent* const> states) {
  Latent joined = *states.front();
  for (std::size_t s = 0; s < joined.streams.size(); ++s) {
    std::vector<at::Tensor> parts;
    for (const Latent* state : states) parts.push_back(state->streams[s].second);
    joined.streams[s].second = at::cat(parts, 0);
  }
  if (joined.mask.defined()) joined.mask = at::cat(std::vector<at::Tensor>(states.size(), joined.mask), 0);
  return joined;
}

Latent lane_of(const Latent& joined, std::size_t index, std::size_t count) {
  const auto part = [&](const at::Tensor& whole) {
    const std::int64_t n = whole.size(0) / static_cast<std::int64_t>(count);
    return whole.narrow(0, static_cast<std::int64_t>(index) * n, n);
  };
  Latent lane = joined;
  for (auto& [name, stream] : lane.streams) stream = part(stream);
  if (lane.mask.defined()) lane.mask = part(lane.mask);
  return lane;
}

namespace {

std::optional<Latent> join_some(const std::vector<Outputs>& answers, std::size_t branch,
                                std::optional<Latent> Estimate::*member) {
  std::vector<const Latent*> parts;
  for (const Outputs& answer : answers) {
    if (!(answer[branch].*member)) return std::nullopt;
    parts.push_back(&*(answer[branch].*member));
  }
  return join_lanes(parts);
}

}  // namespace

Outputs ask_by_lane(const Denoiser& denoiser, const Latent& x, const Query& query) {
  std::vector<Outputs> answers;
  for (std::size_t k = 0; k < query.lanes.size(); ++k) {
    Query one = query;
    one.at = query.lanes[k];
    one.lanes.clear();
    answers.push_back(denoiser(lane_of(x, k, query.lanes.size()), one));
  }
  Outputs joined;
  for (std::size_t b = 0; b < answers.front().size(); ++b) {
    std::vector<const Latent*> parts;
    for (const Outputs& answer : answers) parts.push_back(&answer[b].data);
    Estimate estimate(join_lanes(parts));
    for (const auto member : {&Estimate::raw, &Estimate::unguided, &Estimate::variance, &Estimate::velocity})
      estimate.*member = join_some(answers, b, member);
    joined.push_back(std::move(estimate));
  }
  return joined;
}

}  // namespace thaw
