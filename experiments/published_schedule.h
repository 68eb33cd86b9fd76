#pragma once
// A published network asked at the levels of a published scheduler.

#include <string>

#include <nlohmann/json.hpp>

#include "core/model.h"
#include "experiments/catalog.h"
#include "samplers/scheduler_config.h"

namespace thaw {

/// What a scheduler's file says, for what a pipeline makes of it before the scheduler is read. Throws DataError.
nlohmann::json scheduler_values(std::string text, const std::string& file);

/// Prediction, schedule and the timesteps told at the levels of `grid`. Throws ConfigError for what a network here
/// cannot be asked for.
void take_published_schedule(const ImportedScheduler& scheduler, const Grid& grid, const Catalog& catalog,
                             Parameterisation& parameterisation);

}  // namespace thaw
