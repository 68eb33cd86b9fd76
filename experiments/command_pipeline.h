#pragma once
// `thaw sample` on whole pipelines, `thaw import`, `thaw estimate` and `thaw export`.

#include "experiments/commands.h"
#include "experiments/diffusion_pipeline.h"

namespace thaw {

/// A pipeline's settings out of a command line: all of it, or ConfigError.
PipelineRequest take_pipeline_request(CommandLine& line);

int sample_pipeline(CommandLine line, const Catalog& catalog);
int command_import(CommandLine line, const Catalog& catalog);
int command_estimate(CommandLine line, const Catalog& catalog);

}  // namespace thaw
