#pragma once
// What a pipeline's run costs, from its configurations and the headers of its weights.

#include <cstdint>
#include <string>
#include <vector>

#include "modalities/images/pipeline_folder.h"

namespace thaw::image {

struct PartCost {
  std::string name;
  std::uint64_t stored_bytes = 0, memory_bytes = 0;  // of weights: in the files, in memory
  double multiply_adds = 0.0;                        // of one pass over one sample
  std::uint64_t activation_bytes = 0;                // at most at a time, of one sample; a rough count
};

struct PipelineShape {
  std::int64_t height = 0, width = 0;  // pixels; 0: what the network was trained at
  std::int64_t weight_bytes = 4;       // a parameter of the denoiser in memory
};

struct PipelineCost {
  std::int64_t height = 0, width = 0;  // pixels
  std::vector<PartCost> parts;         // those with weights
  const PartCost& at(const std::string& name) const;
};

/// Multiply-adds are counted from shapes and names of weights, and of attention from the number of positions; norms
/// and activations are not counted. Opens no weights. Throws DataError.
PipelineCost pipeline_cost(const PipelineFolder& pipeline, const PipelineShape& shape);

}  // namespace thaw::image
