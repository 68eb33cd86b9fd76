#pragma once
// The levels diffusers' schedulers visit: spacing of timesteps, sigma schedules, the last sigma.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/math/grid.h"
#include "samplers/scheduler_table.h"

namespace thaw {

enum class Spacing : std::uint8_t { kLinspace, kLeading, kTrailing };
enum class SigmaKind : std::uint8_t { kTable, kKarras, kExponential, kBeta, kLu, kFlow };
enum class FinalSigma : std::uint8_t {
  kZero,
  kTableMin,  // sigma of timestep 0
  kRepeated,  // the last sigma once more: a step of no length
};

/// numpy.arange(total, 0, -total / steps), rounded, less one; `first` may be below the total (lambda_min_clipped).
/// Throws ConfigError naming the file where floating point makes one timestep too many, the last of them -1.
std::vector<double> trailing_times(const SchedulerOptions& options, double first, double total, int steps);

/// Timesteps of schedulers that step in them, noisiest first: DDIM's spacing.
struct TimestepRule {
  Spacing spacing = Spacing::kLeading;
  int offset = 0;
  bool is_rounded = true;        // linspace to whole timesteps
  bool has_spare_point = false;  // N + 1 points, the last one dropped (DPM-Solver and its kin)
  double first = 0.0;            // number of timesteps below lambda_min_clipped's; 0: all

  std::vector<double> times(const SchedulerOptions& options, std::size_t table, int steps) const;
};
TimestepRule read_timestep_rule(const SchedulerOptions& options);

/// The same for schedulers that look their timesteps up in the table: refuses more of them than it has.
std::vector<double> whole_times(const SchedulerOptions& options, const TimestepRule& rule, const PeerTable& table,
                                int steps);
/// Variance-preserving levels of those timesteps, then `end`; it has the time -1.
Grid table_grid(const PeerTable& table, std::vector<double> times, std::optional<Level> end);
/// Our grid section with this spacing.
std::string grid_yaml(const TimestepRule& rule, const std::string& final);

/// Reads use_karras_sigmas and its kin; throws ConfigError when several are on.
SigmaKind read_sigma_kind(const SchedulerOptions& options);

/// N sigmas from `high` to `low` by their kind; kTable and kFlow have their own functions.
std::vector<double> spaced_sigmas(SigmaKind kind, double low, double high, int steps, double rho = 7.0);

/// sigma = shift s / (1 + (shift - 1) s).
double shifted(double sigma, double shift);

/// A grid of levels; `end` is appended unless the last level already is there.
struct SigmaGrid {
  std::vector<double> sigmas;  // noisy ones, falling
  std::vector<double> times;   // what the network is told, one a sigma
  double end = 0.0;
  bool repeats_last = false;  // the peer writes the last sigma twice

  /// Levels on one of the standard paths.
  Grid on(const Path& path) const;
};

/// Throws ConfigError with the file when sigmas do not fall, which is where the peers divide by 0.
void expect_falling(const SchedulerOptions& options, const SigmaGrid& grid);

}  // namespace thaw
