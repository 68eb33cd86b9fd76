#pragma once
// `thaw explain`: what a diffusers scheduler config amounts to.

#include "experiments/commands.h"

namespace thaw {

/// thaw explain scheduler_config.json [eta=0.5 mu=1.15 ...]: words and the equivalent sections, on standard output.
int command_explain(CommandLine line, const Catalog& catalog);

}  // namespace thaw
