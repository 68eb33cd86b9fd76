#pragma once
// `thaw export`: a pipeline as another folder of the same layout, and single files taken apart into one.

#include "experiments/commands.h"

namespace thaw {

int command_export(CommandLine line, const Catalog& catalog);
/// `thaw import FILE like=PIPELINE out=FOLDER`.
int import_single_file(CommandLine line);

}  // namespace thaw
