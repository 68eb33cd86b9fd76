#pragma once
// diffusers' scheduler_config.json, taken as it is: the same levels, the same steps, the same faults.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/math/grid.h"
#include "core/math/schedule.h"
#include "samplers/sampler.h"

namespace thaw {

/// What a scheduler does to each x0 estimate.
struct ImportedThresholding {
  enum class Kind : std::uint8_t { kNone, kClip, kDynamic } kind = Kind::kNone;
  double range = 1.0;     // kClip: to [-range, range]
  double quantile = 1.0;  // kDynamic (Saharia et al. 2022): of |x0| over a sample, clamped to [1, maximum]
  double maximum = 1.0;
  std::string yaml() const;  // "{type: dynamic, percentile: 0.995, max: 1}", empty for none
};

/// A key of the file that changes nothing, and why.
struct IdleOption {
  std::string key, reason;
};

/// States are in the peer's own scaling: x / alpha of Euler and its kin (grids on the exploding path), x elsewhere.
struct ImportedScheduler {
  std::string file, class_name;
  SchedulePtr schedule;                          // its times are the peer's timesteps (sigma for flow and EDM)
  std::function<Grid(int steps)> grid;           // times: what the peer tells its network at each level
  Solver solver;                                 // for grids of `grid`
  std::function<double(int steps)> start_scale;  // the peer starts from this times standard normal noise
  std::string prediction;                        // of the network: noise, data, v, velocity, edm, consistency
  bool negates_output = false;                   // edm with prediction_type v_prediction: c_out has the other sign
  ImportedThresholding thresholding;
  /// Sections of a configuration with the same levels and steps: schedule, objective, grid, sampler ... one line
  /// each. `is_exact` is false where a note says what no section can express.
  std::vector<std::pair<std::string, std::string>> sections;
  bool is_exact = true;
  std::vector<std::string> notes;  // quirks that are reproduced, one sentence each
  std::vector<IdleOption> idle;

  Plan plan(int steps) const { return solver(grid(steps)); }
};

/// Arguments of the peer's calls that no config holds, with the peer's defaults: eta (DDIM, TCD), s_noise
/// (DPMSolverSDE), mu (dynamic shifting), order (LMS). Churn is not among them: diffusers asks its network before the
/// noise is added.
using SchedulerCalls = std::map<std::string, double, std::less<>>;

/// Throws ConfigError for what is unknown, of the wrong type, contradictory or impossible, with the file and the key;
/// DataError for what is no JSON.
ImportedScheduler import_scheduler(std::string_view text, const std::string& file, const ScheduleRegistry& schedules,
                                   const SamplerRegistry& samplers, const SchedulerCalls& calls = {});

/// What the scheduler amounts to: words, the configuration, notes and idle options, for `thaw explain`.
std::string explain(const ImportedScheduler& scheduler);

}  // namespace thaw
