#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
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

/// Kingma et al. 2021, eq. 17; Kingma and Gao 2023, eq. 9: -ln p(x0) <= integral of SNR |x0 - D|^2 over lambda + ends,
/// so 1 on eps along lambda (theirs is twice ours and has the factor 1/2); in time it takes the speed of lambda.
class Elbo final : public Weighting {
 public:
  double on_output(const Level& level, const Scalings& scalings, double) const override {
    return signal_to_noise(level) * square(scalings.out);
  }
  double on_output_in_time(const Schedule& schedule, const Level& level, const Scalings& scalings,
                           double sigma_data) const override {
    if (level.alpha == 0.0) return 0.0;  // the limit: SNR falls faster than lambda runs
    const double range = schedule.t_max() - schedule.t_min(), t = schedule.time_of(level.lambda());
    const double step = 1e-5 * range;  // of doubles: the difference is good to 1e-10
    double above = std::min(t + step, schedule.t_max());
    if (std::isinf(schedule.lambda(above))) above = t;
    const double below = std::max(t - step, schedule.t_min());
    const double speed = (schedule.lambda(below) - schedule.lambda(above)) / (above - below);
    return speed * range * on_output(level, scalings, sigma_data);
  }
};

/// sigma / (alpha + sigma): the time of a straight path.
double flow_time(const Level& level) {
  return level.sigma / (level.alpha + level.sigma);
}

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

void register_weighting_vlb(WeightingRegistry& registry) {
  registry.add({{.name = "vlb",
                 .summary = "the variational bound in nats a dimension, where levels are uniform in time",
                 .source = "Kingma et al. 2021, eq. 17; Kingma and Gao 2023, eq. 9"},
                [](const Settings&) -> WeightingPtr { return std::make_shared<Elbo>(); }});
}

void register_weighting_sigma_sqrt(WeightingRegistry& registry) {
  registry.add(
      {{.name = "sigma_sqrt",
        .summary = "1 / t^2 on x0, t = sigma / (alpha + sigma): 1 on a straight path's velocity",
        .source = "diffusers 0.42.1, compute_loss_weighting_for_sd3, after Esser et al. 2024"},
       [](const Settings&) { return on_data([](const Level& l, double) { return 1.0 / square(flow_time(l)); }); }});
}

void register_weighting_cosmap(WeightingRegistry& registry) {
  registry.add({{.name = "cosmap",
                 .summary = "2 / (pi (1 - 2 t + 2 t^2)) on x0, t = sigma / (alpha + sigma)",
                 .source = "Esser et al. 2024, eq. 21; diffusers 0.42.1, compute_loss_weighting_for_sd3"},
                [](const Settings&) {
                  return on_data([](const Level& l, double) {
                    const double t = flow_time(l);
                    return 2.0 / (std::numbers::pi * (1.0 - 2.0 * t + 2.0 * t * t));
                  });
                }});
}

}  // namespace thaw
