#pragma once
// What the families of schedulers share while they are imported.

#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "samplers/scheduler_config.h"
#include "samplers/scheduler_grid.h"

namespace thaw {

/// One import under way: what is read and what is made of it.
struct Import {
  std::shared_ptr<const SchedulerOptions> options;
  const ScheduleRegistry& schedules;
  const SamplerRegistry& samplers;
  SchedulerCalls calls{};
  int total_steps = 0;  // of the grid that a run's levels are the last part of; 0: the run's own
  ImportedScheduler made{};

  const SchedulerOptions& o() const { return *options; }
  bool is(std::string_view name) const { return options->class_name() == name; }
  /// An argument of the peer's call; each is taken once.
  double call(const std::string& name, double fallback, double minimum, double maximum);
  void note(std::string text) { made.notes.push_back(std::move(text)); }
  /// A note about something that no section expresses.
  void inexact(std::string text) {
    note(std::move(text));
    made.is_exact = false;
  }
  void section(const std::string& name, const std::string& yaml) { made.sections.emplace_back(name, yaml); }
  /// A solver of the catalog, by its section; also writes the section.
  Solver sampler(const std::string& yaml);
};

/// prediction_type of the tables' schedulers; sets prediction and returns ours. `allowed` are the peer's names.
void read_prediction(Import& peer, const std::vector<std::string>& allowed);
/// thresholding and, where the class has it, clip_sample.
void read_thresholding(Import& peer);

/// Says of classes whose step takes churn that no file holds it.
void note_churn(Import& peer);

/// Families; each handles the classes of its file.
void import_ddim(Import& peer);       // DDIM, DDIMParallel, DDIMInverse, CogVideoXDDIM, RePaint
void import_ddpm(Import& peer);       // DDPM, DDPMParallel
void import_pndm(Import& peer);       // PNDM
void import_distilled(Import& peer);  // LCM, TCD, CMStochasticIterative, SCM
void import_cogvideox_dpm(Import& peer);
void import_exploding(Import& peer);   // Euler, EulerAncestral, Heun, KDPM2, KDPM2Ancestral, LMS, DPMSolverSDE
void import_edm(Import& peer);         // EDMEuler, EDMDPMSolverMultistep, CosineDPMSolverMultistep
void import_dpm(Import& peer);         // DPMSolverMultistep, DPMSolverMultistepInverse
void import_singlestep(Import& peer);  // DPMSolverSinglestep
void import_predictor(Import& peer);   // DEIS, UniPC, SASolver
void import_flow(Import& peer);        // FlowMatchEuler, FlowMatchHeun, FlowMatchLCM, LTXEulerAncestralRF
void import_ipndm(Import& peer);       // IPNDM

}  // namespace thaw
