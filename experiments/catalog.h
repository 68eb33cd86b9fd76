#pragma once
// The one place where names come together.

#include <span>

#include "core/backbone.h"
#include "core/dataset.h"
#include "core/denoiser.h"
#include "core/given.h"
#include "core/guidance.h"
#include "core/level_map.h"
#include "core/math/grid.h"
#include "core/math/schedule.h"
#include "core/math/weighting.h"
#include "core/metrics/metric.h"
#include "core/objective.h"
#include "samplers/sampler.h"

namespace thaw {

struct Catalog {
  ScheduleRegistry schedules{"schedule"};
  GridRegistry grids{"grid"};
  WeightingRegistry weightings{"weighting"};
  SamplerRegistry samplers{"sampler"};
  GuidanceRegistry guidance{"guidance"};
  MeasurementRegistry measurements{"measurement"};
  ThresholdingRegistry thresholdings{"thresholding"};
  LevelSamplerRegistry level_samplers{"level sampler"};
  ObjectiveRegistry objectives{"objective"};
  DatasetRegistry datasets{"dataset"};
  CodecRegistry codecs{"codec"};
  BackboneRegistry backbones{"backbone"};
  MetricRegistry metrics{"metric"};
  TaskRegistry tasks{"task"};
  LevelMapRegistry level_maps{"level map"};
};

Catalog make_catalog();

/// All entries of one kind, under the plural name `thaw list` takes.
struct Kind {
  std::string plural;
  std::vector<const EntryInfo*> entries;
};
std::vector<Kind> kinds(const Catalog& catalog);

}  // namespace thaw
