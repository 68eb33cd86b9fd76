#pragma once
// thaw roundtrip: what a codec loses, before anything is trained on it.

#include "experiments/commands.h"

namespace thaw {

/// thaw roundtrip CONFIG [a.b=v ...] [n=64] [--json]: held-out examples (of a dataset without a split "test", training
/// examples) through the configuration's codec and back, in all metrics of pairs that the data allows; the mean and
/// the deviation of what a network would see.
int command_roundtrip(CommandLine line, const Catalog& catalog);

}  // namespace thaw
