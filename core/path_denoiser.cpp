#include <cmath>

#include <ATen/ATen.h>

#include "core/model.h"

namespace thaw {

double rescaling(const Level& asked, const Level& own) {
  return asked.alpha > asked.sigma ? own.alpha / asked.alpha : own.sigma / asked.sigma;
}

Denoiser on_path(Denoiser denoiser, const Path& path) {
  return [denoiser = std::move(denoiser), &path](const Latent& x, const Query& query) {
    const bool has_lanes = !query.lanes.empty(), has_parts = !query.parts.empty();
    const std::vector<Level> asked = has_parts ? query.parts : has_lanes ? query.lanes : std::vector<Level>{query.at};
    const std::int64_t rows = has_parts ? 1 : x.batch() / static_cast<std::int64_t>(asked.size());
    std::vector<Level> own;
    std::vector<double> factors;
    bool is_same = true;
    for (const Level& level : asked) {
      const Level there = level.is_clean() ? level : path.at(level.lambda());
      const double factor = rescaling(level, there);
      // A table's own levels differ from the path's in the last bits: those are asked as they are.
      const bool is_own = std::abs(factor - 1.0) < 1e-12;
      own.push_back(is_own ? level : there);
      factors.insert(factors.end(), static_cast<std::size_t>(rows), is_own ? 1.0 : factor);
      is_same = is_same && is_own;
    }
    if (is_same) return denoiser(x, query);
    Query moved = query;
    if (has_parts)
      moved.parts = own;
    else if (has_lanes)
      moved.lanes = own;
    else
      moved.at = own.front();
    Latent scaled = x;
    for (auto& [name, stream] : scaled.streams) stream = stream * per_sample(factors, stream);
    Outputs outputs = denoiser(scaled, moved);
    for (Estimate& estimate : outputs)
      if (estimate.affine) estimate.affine->skip *= factors.front();
    return outputs;
  };
}

}  // namespace thaw
