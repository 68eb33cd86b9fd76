#pragma once
// The sigmas of diffusers' variance-preserving multistep schedulers.

#include <optional>
#include <string>

#include "samplers/scheduler_import.h"

namespace thaw {

struct DpmSigmas {
  PeerTable table;
  TimestepRule rule{};
  SigmaKind kind = SigmaKind::kTable;
  FinalSigma final = FinalSigma::kTableMin;
  std::optional<double> low{}, high{};  // in place of the table's ends
  double flow_shift = 1.0;
  double terminal = 0.0;     // shift_terminal of UniPC
  bool is_straight = false;  // x = (1 - sigma) x0 + sigma eps
  bool is_rounded = true;    // Karras and Lu timesteps, else cut
  bool is_unipc = false;     // flow sigmas from 1 down, the first one kept 1e-6 away from it

  SigmaGrid grid(const SchedulerOptions& o, int steps) const;
  const Path& path() const { return is_straight ? linear_path() : variance_preserving(); }
  /// Whether the last step has no length: the sigmas end where the end is.
  bool repeats_last() const {
    return final == FinalSigma::kRepeated || (final == FinalSigma::kTableMin && !low && spans_table());
  }
  bool spans_table() const { return kind != SigmaKind::kTable && kind != SigmaKind::kFlow; }
  std::string yaml() const;           // our grid section
  std::string schedule_yaml() const;  // our schedule section
};

/// `default_final` for classes without final_sigmas_type. Refuses what contradicts itself.
DpmSigmas read_dpm_sigmas(Import& peer, FinalSigma default_final);
/// Fills schedule, grid and their sections.
void use_dpm_sigmas(Import& peer, const DpmSigmas& sigmas);

/// dpmsolver++ and its kin by algorithm_type, solver_order and solver_type; also writes the section and the notes.
Solver import_dpm_solver(Import& peer, bool repeats_last, bool ends_clean);

}  // namespace thaw
