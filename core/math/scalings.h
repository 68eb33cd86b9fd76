#pragma once
// What a network predicts, as numbers: D(x) = skip x + out F(in x).

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/math/level.h"
#include "core/math/path.h"

namespace thaw {

/// noise     eps                                           Ho et al. 2020
/// data      x0
/// v         alpha eps - sigma x0                          Salimans and Ho 2022
/// velocity  alpha' x0 + sigma' eps along the path's time  Lipman et al. 2023, Liu et al. 2023
/// score     -eps / sigma, the gradient of log p           Song et al. 2021
/// edm       the F of Karras et al. 2022, table 1, with x / alpha in place of x and rho in place of sigma
enum class Prediction { kNoise, kData, kV, kVelocity, kScore, kEdm };

/// D(x) = skip x + out F(in x) estimates x0.
struct Scalings {
  double skip = 0.0;
  double out = 1.0;
  double in = 1.0;
};

/// The perfect output F* = on_x0 x0 + on_eps eps, in closed form: nothing is divided by `out`, which is 0 at a
/// clean level.
struct TargetWeights {
  double on_x0 = 1.0;
  double on_eps = 0.0;
};

/// sigma_data is the standard deviation of the data; only `edm` reads it. Noise and score divide by alpha: infinite
/// at alpha = 0 (see refuses_alpha_zero).
Scalings scalings(Prediction prediction, const Level& level, const Path& path, double sigma_data = 0.5);

TargetWeights target_weights(Prediction prediction, const Level& level, const Path& path, double sigma_data = 0.5);

/// True for the predictions that carry no information about x0 where alpha = 0: noise and score.
bool refuses_alpha_zero(Prediction prediction);

/// "noise", "data", "v", "velocity", "score", "edm", in the order of the enum.
const std::vector<std::string>& prediction_names();
const std::string& prediction_name(Prediction prediction);
/// Throws ConfigError with the nearest and the known names.
Prediction prediction_from_name(std::string_view name);
std::span<const Prediction> all_predictions();

}  // namespace thaw
