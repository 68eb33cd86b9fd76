#pragma once
// `thaw study`: several configurations, one table.

#include "experiments/commands.h"

namespace thaw {

/// thaw study CONFIG ... [each.KEY=[a,b] ...] [KEY=VALUE ...] [reference=NAME,...] [out=PAGE.md]: runs each
/// configuration, with KEY=VALUE and in every combination of what `each.` lists, into runs/<name> (training, then its
/// comparison; one that names its `model:` is compared alone), going on from what stands, and writes all cells as one
/// Markdown table with intervals, floors, ratios to the best of the references, and what made them. A figure by a
/// network that the training used is marked.
int command_study(CommandLine line, const Catalog& catalog);

}  // namespace thaw
