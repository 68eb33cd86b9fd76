#pragma once
// Samplers with options: what can be certified, by a short name.

#include <string>
#include <vector>

#include "core/math/certificate.h"
#include "samplers/sampler.h"

namespace thaw {

/// A sampler with given options, named as people write it: "ddim", "ddim eta=1", "heun s_churn=40 s_tmin=0.05".
struct Variant {
  std::string name;
  std::string sampler;
  const EntryInfo* info = nullptr;  // the registry's
  Solver solver{};                  // may be adaptive: then it has no plan
  PlanMaker maker{};                // the solver, with timesteps on grids that lack them where it needs those
  Claims claims{};
};

/// From such a name. Throws ConfigError for an unknown sampler or option, as a configuration file would.
Variant make_variant(const SamplerRegistry& registry, const std::string& name);

/// Default options first, then one variant for each other value of every choice, of `order`, and of the options that
/// turn noise on and off (eta, tau2, tau, s_churn): generated, so that a new sampler is certified with nothing written.
std::vector<Variant> variants_of(const SamplerRegistry& registry, const std::string& sampler);

/// The same of every sampler, in catalog order.
std::vector<Variant> all_variants(const SamplerRegistry& registry);

/// The variant with its noise turned off ("ddim" for "ddim eta=1"); the same name where it has no such option.
std::string without_noise(const SamplerRegistry& registry, const Variant& variant);

}  // namespace thaw
