#pragma once
// What the files guidance_*.cpp share.

#include "core/base/config.h"
#include "core/guidance.h"

namespace thaw {

void register_branch_guidance(GuidanceRegistry& registry);       // cfg, cfg_zero, apg, embedded
void register_perturbed_guidance(GuidanceRegistry& registry);    // perturbed_attention, skip_layer
void register_model_guidance(GuidanceRegistry& registry);        // autoguidance, classifier
void register_measurement_guidance(GuidanceRegistry& registry);  // dps, pigdm

/// A scale as a function of the level: `neutral` outside of the interval, neutral + (scale - neutral) shape inside.
struct Strength {
  double scale = 1.0, neutral = 1.0;
  double from = 0.0, to = 1.0;  // noise fractions
  std::string schedule = "constant";
  std::vector<double> shape{};  // parameters of beta (a, b), or the scales of a list from noise to clean

  double at(const Level& level) const;
  bool is_neutral(const Level& level) const { return at(level) == neutral; }
};
/// scale, interval, schedule and its parameters.
std::vector<Option> strength_options(double scale, const std::string& help, double neutral = 1.0);
/// Throws ConfigError for an interval that is upside down and parameters that do not fit the schedule.
Strength read_strength(const Settings& settings, double neutral = 1.0);

/// Quantities y = on_data D + on_x x that stand for an estimate D of a state x.
///   data      D
///   noise     (x - alpha D) / sigma
///   velocity  alpha' D + sigma' noise, on the model's own path
///   output    the network's raw output F: D = skip x + out F
struct Space {
  double on_data = 1.0, on_x = 0.0;
};
extern const std::vector<std::string> kSpaceNames;
/// At `level` of the model's path; only data and noise without a model.
Space space_at(const std::string& name, const Level& level, const Model* model);

/// Per-sample inner product over all but the batch, shaped to multiply, in float64.
at::Tensor inner_product(const at::Tensor& a, const at::Tensor& b);

/// One estimate of the answers of several branches, stream by stream.
struct Combination {
  /// The first is kConditional; that alone means the answer passes unchanged.
  std::function<std::vector<Branch>(const Level&)> branches;
  /// Of the streams in the order of the branches. `stream` counts the state's streams.
  std::function<at::Tensor(const Level&, const at::Tensor& x, const std::vector<at::Tensor>&, std::size_t stream)>
      combine;
  /// Told before the levels of a query are combined, in their order; may be empty.
  std::function<void(const std::vector<Level>&)> begin{};
};
/// Asks for the branches in one query where all lanes want the same ones.
Denoiser combined_branches(Denoiser denoiser, Combination combination, Query asked = {});

/// Adds a shift to the estimate of the guided denoiser that needs the gradient of something with respect to x.
///
/// shift(level, x, data) is called with gradients enabled: x is a leaf and data the estimate made of it.
using GradientShift = std::function<at::Tensor(const Level&, const at::Tensor& x, const at::Tensor& data)>;
Denoiser shifted_by_gradient(Denoiser denoiser, std::function<bool(const Level&)> acts, GradientShift shift,
                             bool through_denoiser);

/// Lanes whose strength differs are asked one by one.
Denoiser by_strength(Denoiser one, const Strength& strength);

/// The gradient of a scalar with respect to a leaf.
at::Tensor gradient(const at::Tensor& scalar, const at::Tensor& leaf);

/// The guidance that `section` names under "around"; none where there is no such section.
Guidance guidance_around(const GuidanceParts& parts, const Config& section);

/// Opens a model when it is first asked for and keeps it.
std::function<std::shared_ptr<const Model>()> opened_when_needed(const GuidanceParts& parts, std::string path,
                                                                 std::int64_t step);

/// Throws ConfigError when the samples have no condition: there is nothing to guide towards.
void expect_condition(const GuidedRun& run, const std::string& guidance);

/// Refuses queries whose parts have levels of their own: ConfigError.
void expect_one_level(const Query& query);

}  // namespace thaw
