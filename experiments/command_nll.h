#pragma once
// `thaw nll`: how probable data are under a model, in bits a dimension.

#include "experiments/commands.h"

namespace thaw {

/// split=test|train of the model's own data, or a .npz of raw samples; n=, steps=, trace=, probes=, bound_steps=,
/// bound_draws=, conditional=, method=; --json.
int command_nll(CommandLine line, const Catalog& catalog);

}  // namespace thaw
