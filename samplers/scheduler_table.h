#pragma once
// The tables of noise levels behind diffusers' schedulers.

#include <cstddef>
#include <string>
#include <vector>

#include "core/math/level.h"
#include "core/math/path.h"
#include "core/math/schedule.h"
#include "samplers/scheduler_options.h"

namespace thaw {

/// alpha_bar of every timestep: what betas, rescaling and shifts come to.
struct PeerTable {
  std::vector<double> alpha_bar;
  std::string yaml;  // our schedule section with these levels

  std::size_t size() const { return alpha_bar.size(); }
  double rho(std::size_t t) const;
  Level level(std::size_t t) const;
  double last() const { return static_cast<double>(size() - 1); }
};

/// How a scheduler builds its table beyond its betas.
struct TableRule {
  std::vector<std::string> schedules{"linear", "scaled_linear", "squaredcos_cap_v2"};
  bool has_rescaling = false;      // reads rescale_betas_zero_snr
  bool keeps_last_finite = false;  // and then sets the last alpha_bar to 2^-24
  bool has_snr_shift = false;      // reads snr_shift_scale (CogVideoX), before it rescales
};

/// Throws ConfigError for contradictions: betas outside (0, 1), trained_betas of another length than the table.
PeerTable read_table(const SchedulerOptions& options, const ScheduleRegistry& schedules, const TableRule& rule);

/// The table as a discrete schedule on `path`: the same sigma / alpha, on the exploding path with alpha = 1.
/// `name` stands in messages. Between timesteps lambda is linear, as the peers' sigma_to_t has it.
SchedulePtr make_table_schedule(const PeerTable& table, const Path& path, const std::string& name);

/// _sigma_to_t of the peers: the real-valued timestep with this sigma / alpha, clamped to the table.
double time_of_rho(const PeerTable& table, double rho);
/// numpy.interp over the table of sigma / alpha: linear in it, unlike time_of_rho.
double rho_at(const PeerTable& table, double t);

}  // namespace thaw
