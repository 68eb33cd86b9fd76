#pragma once
// `thaw ema`: other averages of a finished training's weights.

#include "experiments/commands.h"

namespace thaw {

/// thaw ema RUN std=0.05,0.1 [step=N] [out=FOLDER]   power-function averages of any width, from snapshots of two
/// thaw ema RUN decay=0.99 [out=FOLDER]              one of train.ema.more_decays
/// Each becomes a model directory <out>/std_0.05. Prints how well snapshots can tell the width asked for.
int command_ema(CommandLine line, const Catalog& catalog);

}  // namespace thaw
