#pragma once
// `thaw study`: several configurations, one table.

#include "experiments/commands.h"

namespace thaw {

/// thaw study CONFIG ... [out=PAGE.md] [reference=NAME:SAMPLER:EVALUATIONS,...]: runs each configuration into
/// runs/<name> (training, then its comparison; one that names its `model:` is compared alone), going on from what
/// stands, and writes all cells as one Markdown table with intervals, floors and what made them.
int command_study(CommandLine line, const Catalog& catalog);

}  // namespace thaw
