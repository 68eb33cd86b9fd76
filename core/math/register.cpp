#include "core/math/grid.h"
#include "core/math/schedule.h"
#include "core/math/weighting.h"

namespace thaw {

#define THAW_SCHEDULE(name) void register_schedule_##name(ScheduleRegistry& registry);
#define THAW_GRID(name) void register_grid_##name(GridRegistry& registry);
#define THAW_WEIGHTING(name) void register_weighting_##name(WeightingRegistry& registry);
#include "core/math/list.def"

void register_schedules(ScheduleRegistry& registry) {
#define THAW_SCHEDULE(name) register_schedule_##name(registry);
#include "core/math/list.def"
}

void register_grids(GridRegistry& registry) {
#define THAW_GRID(name) register_grid_##name(registry);
#include "core/math/list.def"
}

void register_weightings(WeightingRegistry& registry) {
#define THAW_WEIGHTING(name) register_weighting_##name(registry);
#include "core/math/list.def"
}

}  // namespace thaw
