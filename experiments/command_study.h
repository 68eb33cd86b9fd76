#pragma once
// `thaw study`: several configurations, one table.

#include "experiments/commands.h"

namespace thaw {

/// thaw study CONFIG ... [each.KEY=[a,b] ...] [reference=NAME,...] [out=PAGE.md]: runs each configuration, in every
/// combination of what `each.` lists, into runs/<name> (training, then its comparison; one that names its `model:` is
/// compared alone), going on from what stands, and writes all cells as one Markdown table with intervals, floors, ratios
/// to the best of the references, and what made them.
int command_study(CommandLine line, const Catalog& catalog);

}  // namespace thaw
