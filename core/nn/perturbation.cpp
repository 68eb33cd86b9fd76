#include "core/nn/perturbation.h"

#include <algorithm>

namespace thaw::nn {

namespace {

thread_local const Perturbation* current = nullptr;

}  // namespace

PerturbedPass::PerturbedPass(const Perturbation& perturbation) : outer_(current) {
  current = &perturbation;
}
PerturbedPass::~PerturbedPass() {
  current = outer_;
}

Perturbation::Kind perturbation_of(std::int64_t layer) {
  if (current == nullptr) return Perturbation::Kind::kNone;
  const bool is_named = std::find(current->layers.begin(), current->layers.end(), layer) != current->layers.end();
  return is_named ? current->kind : Perturbation::Kind::kNone;
}

}  // namespace thaw::nn
