#pragma once
// thaw certify [SAMPLER ...] [out=F.json|F.html|F.md] [--json]

#include "experiments/catalog.h"
#include "experiments/commands.h"

namespace thaw {

/// Certifies the named samplers, or the whole catalog; prints tables, or JSON with --json; out= also writes a file by
/// its suffix. Returns kCheckFailed where a certificate or an identity fails.
int command_certify(CommandLine line, const Catalog& catalog);

}  // namespace thaw
