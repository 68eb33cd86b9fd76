#include <algorithm>

#include "core/model.h"
#include "core/nn/perturbation.h"

namespace thaw {

Denoiser with_perturbed_branch(Denoiser denoiser) {
  return [denoiser = std::move(denoiser)](const Latent& x, const Query& query) {
    const auto found = std::find(query.branches.begin(), query.branches.end(), Branch::kPerturbed);
    if (found == query.branches.end()) return denoiser(x, query);
    Query weaker = query, plain = query;
    weaker.branches = {Branch::kConditional};
    std::erase(plain.branches, Branch::kPerturbed);
    Outputs outputs;
    if (!plain.branches.empty()) outputs = denoiser(x, plain);
    const nn::PerturbedPass pass(query.perturbed);
    outputs.insert(outputs.begin() + (found - query.branches.begin()), denoiser(x, weaker).front());
    return outputs;
  };
}

}  // namespace thaw
