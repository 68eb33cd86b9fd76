#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "core/math/weighting.h"

namespace thaw {
namespace {

double square(double x) {
  return x * x;
}
double signal_to_noise(const Level& level) {
  return square(level.alpha / level.sigma);
}

/// A weight stated on the squared error of x0.
class OnData final : public Weighting {
 public:
  using Weight = std::function<double(const Level&, double sigma_data)>;
  explicit OnData(Weight weight) : weight_(std::move(weight)) {}
  double on_output(const Level& level, const Scalings& scalings, double sigma_data) const override {
    return weight_(level, sigma_data) * square(scalings.out);
  }

 private:
  Weight weight_;
};

class Uniform final : public Weighting {
 public:
  double on_output(const Level&, const Scalings&, double) const override { return 1.0; }
};

WeightingPtr on_data(OnData::Weight weight) {
  return std::make_shared<OnData>(std::move(weight));
}

}  // namespace

void register_weighting_uniform(WeightingRegistry& registry) {
  registry.add({{.name = "uniform",
                 .summary = "weight 1 on the squared error of the network's own output",
                 .source = "Ho et al. 2020, eq. 14 (L_simple) with noise prediction"},
                [](const Settings&) -> WeightingPtr { return std::make_shared<Uniform>(); }});
}

void register_weighting_snr(WeightingRegistry& registry) {
  registry.add({{.name = "snr",
                 .summary = "alpha^2 / sigma^2 on x0: the noise-prediction loss whatever the network predicts",
                 .source = "Salimans and Ho 2022, section 4"},
                [](const Settings&) { return on_data([](const Level& l, double) { return signal_to_noise(l); }); }});
}

void register_weighting_truncated_snr(WeightingRegistry& registry) {
  registry.add(
      {{.name = "truncated_snr", .summary = "max(SNR, 1) on x0", .source = "Salimans and Ho 2022, section 4, eq. 10"},
       [](const Settings&) {
         return on_data([](const Level& l, double) { return std::max(signal_to_noise(l), 1.0); });
       }});
}

void register_weighting_min_snr(WeightingRegistry& registry) {
  registry.add({{.name = "min_snr",
                 .summary = "min(SNR, gamma) on x0",
                 .source = "Hang et al. 2023, eq. 8",
                 .options = {{"gamma", 5.0, "largest weight", 1e-6, 1e6}}},
                [](const Settings& settings) {
                  return on_data([gamma = settings.number("gamma")](const Level& l, double) {
                    return std::min(signal_to_noise(l), gamma);
                  });
                }});
}

void register_weighting_soft_min_snr(WeightingRegistry& registry) {
  registry.add({{.name = "soft_min_snr",
                 .summary = "SNR gamma / (SNR + gamma) on x0",
                 .source = "Crowson et al. 2024 (HDiT), section 4.1: 1 / (rho^2 + 1 / gamma)",
                 .options = {{"gamma", 4.0, "limit of the weight at clean levels", 1e-6, 1e6}}},
                [](const Settings& settings) {
                  return on_data([gamma = settings.number("gamma")](const Level& l, double) {
                    const double noise = square(l.sigma), signal = square(l.alpha);
                    return signal * gamma / (signal + gamma * noise);
                  });
                }});
}

void register_weighting_edm(WeightingRegistry& registry) {
  registry.add({{.name = "edm",
                 .summary = "(rho^2 + sigma_data^2) / (rho sigma_data)^2 on x0: 1 on the output of an edm network",
                 .source = "Karras et al. 2022, table 1"},
                [](const Settings&) {
                  return on_data([](const Level& l, double sigma_data) {
                    return (square(l.sigma) + square(sigma_data * l.alpha)) / square(l.sigma * sigma_data);
                  });
                }});
}

void register_weighting_sigmoid(WeightingRegistry& registry) {
  registry.add({{.name = "sigmoid",
                 .summary = "sigmoid(bias - log SNR) on eps: e^bias sigmoid(log SNR - bias) on x0",
                 .source = "Kingma and Gao 2023, section 4; Hoogeboom et al. 2024 (SiD2) with bias -3 at 512 pixels",
                 .options = {{"bias", 0.0, "log SNR where the weight on eps is one half", -30.0, 30.0}}},
                [](const Settings& settings) {
                  return on_data([bias = settings.number("bias")](const Level& l, double) {
                    return std::exp(bias) / (1.0 + std::exp(bias - 2.0 * l.lambda()));
                  });
                }});
}

void register_weighting_p2(WeightingRegistry& registry) {
  registry.add({{.name = "p2",
                 .summary = "1 / (k + SNR)^gamma on eps: SNR / (k + SNR)^gamma on x0",
                 .source = "Choi et al. 2022, eq. 8",
                 .options = {{"k", 1.0, "keeps the weight finite at high noise", 1e-6, 1e6},
                             {"gamma", 1.0, "strength; 0 is snr", 0.0, 10.0}}},
                [](const Settings& settings) {
                  return on_data([k = settings.number("k"), gamma = settings.number("gamma")](const Level& l, double) {
                    const double snr = signal_to_noise(l);
                    return snr / std::pow(k + snr, gamma);
                  });
                }});
}

}  // namespace thaw
