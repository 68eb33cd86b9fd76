#include <algorithm>
#include <memory>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/model.h"

namespace thaw {

Denoiser self_conditioned(const Model& model, Condition condition) {
  auto last = std::make_shared<at::Tensor>();
  return [&model, condition = std::move(condition), last](const Latent& x, const Query& query) {
    if (!query.lanes.empty())
      throw ConfigError(
          "backbone.self_conditioning: the network sees its last estimate, so a sampler that asks at several levels at "
          "a time cannot use it. Use one that goes step by step.");
    const at::Tensor estimate = last->defined() ? *last : at::zeros_like(x.main());
    Condition own = condition;
    own["estimate"] = estimate;
    Query asked = query;
    asked.wanted.affine = false;  // what is remembered must be a tensor of its own
    if (query.negative) {
      Condition negative = *query.negative;
      negative["estimate"] = estimate;
      asked.negative = std::make_shared<const Condition>(std::move(negative));
    }
    Outputs outputs = model.denoiser(own)(x, asked);
    const auto branch = std::find(query.branches.begin(), query.branches.end(), Branch::kConditional);
    *last = outputs[branch == query.branches.end() ? 0 : static_cast<std::size_t>(branch - query.branches.begin())]
                .data.main()
                .detach();
    return outputs;
  };
}

}  // namespace thaw
