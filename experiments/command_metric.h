#pragma once
// `thaw metric NAME A B`: a metric of two sets.

#include "experiments/commands.h"

namespace thaw {

/// A is measured against B; each is a .npz of samples, a run folder, or a folder of videos, of pictures or of sounds.
/// Options of the metric, `features=`, `judge=`, `n=`, `seed=`; --json.
int command_metric(CommandLine line, const Catalog& catalog);

}  // namespace thaw
