#include <cmath>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/denoiser.h"
#include "core/lanes.h"
#include "core/model.h"

namespace thaw {
namespace {

// Saharia et al. 2022 (Imagen), section 2.3: s is the percentile of |x0| of a sample, at least `range`; the estimate is
// clipped to +-s and shrunk to +-range.
at::Tensor clip_dynamically(const at::Tensor& data, double range, double percentile, double most) {
  at::Tensor result = at::empty_like(data);
  for (std::int64_t n = 0; n < data.size(0); ++n) {  // at::quantile takes 2^24 elements at most, a sample at a time
    const at::Tensor s = at::quantile(data[n].abs().flatten(), percentile).clamp(range, most);
    result[n].copy_(at::minimum(at::maximum(data[n], -s), s) * (range / s));
  }
  return result;
}

}  // namespace

Denoiser with_thresholding(Denoiser denoiser, Thresholding thresholding) {
  if (!thresholding) return denoiser;
  return [denoiser = std::move(denoiser), thresholding = std::move(thresholding)](const Latent& x, const Query& query) {
    Query asked = query;
    asked.wanted.affine = false;
    Outputs outputs = denoiser(x, asked);
    for (Estimate& estimate : outputs) {
      if (estimate.velocity)
        throw Error(ExitCode::kBug, "thresholding: a velocity is told from the final estimate; wrap it outside");
      if (query.wanted.raw) estimate.raw = estimate.data;
      for (auto& [name, stream] : estimate.data.streams) stream = thresholding(stream);
    }
    return outputs;
  };
}

Denoiser with_velocity(Denoiser denoiser, const Path& path) {
  const Denoiser one = [denoiser = std::move(denoiser), &path](const Latent& x, const Query& query) {
    Outputs outputs = denoiser(x, query);
    if (!query.wanted.velocity) return outputs;
    std::vector<double> on_x, on_data;
    for (const Level& level : query.parts.empty() ? std::vector<Level>{query.at} : query.parts) {
      const PathSlope slope = path.slope(level);
      // eps = (x - alpha D) / sigma; what is clean does not move.
      const double share = level.is_clean() ? 0.0 : slope.sigma / level.sigma;
      on_x.push_back(share);
      on_data.push_back(level.is_clean() ? 0.0 : slope.alpha - share * level.alpha);
    }
    for (Estimate& estimate : outputs) {
      estimate.velocity = estimate.data;
      for (std::size_t s = 0; s < x.streams.size(); ++s) {
        const at::Tensor &state = x.streams[s].second, &data = estimate.data.streams[s].second;
        estimate.velocity->streams[s].second =
            query.parts.empty() ? at::add(state * on_x[0], data, on_data[0])
                                : state * per_sample(on_x, state) + data * per_sample(on_data, state);
      }
    }
    return outputs;
  };
  return [one](const Latent& x, const Query& query) {
    return query.wanted.velocity && !query.lanes.empty() ? ask_by_lane(one, x, query) : one(x, query);
  };
}

void register_thresholding(ThresholdingRegistry& registry) {
  registry.add({{"none", "Estimates as they are.", "", {}, {}}, [](const Settings&) -> Thresholding { return {}; }});
  registry.add({{"static",
                 "Clips every value of the estimate to +-range.",
                 "Ho et al. 2020, code (clip_denoised)",
                 {{"range", 1.0, "largest value of clean data", 1e-6, 1e6}},
                 {}},
                [](const Settings& settings) -> Thresholding {
                  return [range = settings.number("range")](const at::Tensor& data) {
                    return at::clamp(data, -range, range);
                  };
                }});
  registry.add({{"dynamic",
                 "Clips each sample to a percentile of its own values, at least range, and shrinks it to +-range.",
                 "Saharia et al. 2022 (Imagen), section 2.3",
                 {{"range", 1.0, "largest value of clean data", 1e-6, 1e6},
                  {"percentile", 0.995, "of the absolute values of a sample", 0.0, 1.0},
                  {"max", 1e9, "the percentile counts as no more than this", 1e-6, 1e9}},
                 {}},
                [](const Settings& settings) -> Thresholding {
                  const double range = settings.number("range"), percentile = settings.number("percentile"),
                               most = settings.number("max");
                  if (most < range) settings.fail("max", concat("must be at least range ", range, ", got ", most, "."));
                  return [=](const at::Tensor& data) { return clip_dynamically(data, range, percentile, most); };
                }});
}

}  // namespace thaw
