#pragma once
// A noise schedule: lambda as a function of time, and back, on a path.

#include <cstdint>
#include <memory>
#include <string>

#include "core/base/registry.h"
#include "core/math/level.h"
#include "core/math/path.h"

namespace thaw {

/// Time runs from t_min (nearest to clean) to t_max (noisiest); lambda falls strictly between them.
///
/// Continuous schedules have t in [0, 1] (edm: t is sigma itself; trigflow: the angle, up to pi / 2); a discrete one
/// has the timestep index 0 ... discrete_steps() - 1, real valued, lambda interpolated linearly in between: continuous
/// time of the same process. Immutable, thread-safe.
class Schedule : public std::enable_shared_from_this<Schedule> {
 public:
  virtual ~Schedule() = default;

  /// Its name in the catalog, for messages.
  virtual std::string name() const = 0;

  /// ln(alpha / sigma) at t; t outside [t_min, t_max] counts as the nearer end. -inf where alpha reaches 0.
  virtual double lambda(double t) const = 0;
  /// The inverse; lambda outside the range gives the nearer end.
  virtual double time_of(double lambda) const = 0;
  virtual const Path& path() const = 0;
  virtual double t_min() const = 0;
  virtual double t_max() const = 0;
  /// Length of the table of a discrete schedule, 0 of a continuous one. t_max is below the last index where the table
  /// is cut at a smallest lambda.
  virtual std::int64_t discrete_steps() const { return 0; }

  virtual Level at(double t) const { return path().at(lambda(t)); }
  /// True when the noisiest level has no signal: noise and score predictions are refused there.
  bool reaches_alpha_zero() const { return at(t_max()).alpha == 0.0; }
};

using SchedulePtr = std::shared_ptr<const Schedule>;
using ScheduleRegistry = Registry<std::shared_ptr<const Schedule>>;

/// Adds every schedule of core/math/list.def. Options and sources stand in the entries.
void register_schedules(ScheduleRegistry& registry);

}  // namespace thaw
