#include "samplers/variants.h"

#include <algorithm>
#include <sstream>

#include "core/base/text.h"

namespace thaw {
namespace {

// Options that turn noise on and off, with the value that shows it.
struct NoiseOption {
  const char* name;
  const char* on;
};
constexpr NoiseOption kNoiseOptions[] = {{"eta", "1"}, {"tau2", "1"}, {"tau", "1"}, {"s_churn", "40"}};

// What an option value changes in the claims of its entry. An option without a line changes none.
struct ClaimChange {
  const char* sampler;
  const char* setting;
  void (*apply)(Claims&);
};
constexpr ClaimChange kChanges[] = {
    // Each is told in the summary of its entry; only that value has the property.
    // The variance of the forward step: right for N(0, 1) data alone, and counted on alpha, not on alpha / sigma.
    {"ddpm", "variance=large",
     [](Claims& c) {
       c.breaks_marginals = true;
       c.is_path_bound = true;
     }},
    // The network is asked about x_a at the next level, as released: x_a does not have that level's noise.
    {"ddim_inversion", "form=diffusers",
     [](Claims& c) {
       c.breaks_marginals = true;
       c.is_path_bound = true;
     }},
    // Data are mixed by the boundary condition of the timestep, so that a point is not its own prediction.
    {"lcm", "boundary=timestep",
     [](Claims& c) {
       c.breaks_marginals = true;
       c.is_path_bound = true;
     }},
    // Constant weights are those of even steps in sigma / alpha: order 2 at most on any other grid.
    {"ipndm", "order=1", [](Claims& c) { c.order = 1; }},
    {"ipndm", "order=2", [](Claims& c) { c.order = 2; }},
    {"ipndm", "order=3", [](Claims& c) { c.order = 2; }},
    {"ipndm_compat_hf", "order=1", [](Claims& c) { c.order = 1; }},
    {"ipndm_compat_hf", "order=2", [](Claims& c) { c.order = 2; }},
    {"ipndm_compat_hf", "order=3", [](Claims& c) { c.order = 2; }},
    // The weak order of the noise is what holds the order down.
    {"dpmpp_3m_sde", "tau2=0", [](Claims& c) { c.order = 3; }},
    {"dpmpp_3m_sde_compat", "tau2=0", [](Claims& c) { c.order = 3; }},
    {"dpmpp_3m_sde_compat_hf", "tau2=0", [](Claims& c) { c.order = 3; }},
    // k-diffusion's addition, of which nobody claims an order.
    {"dpm_fast", "eta=1", [](Claims& c) { c.order = 0; }},
    {"sa_solver", "tau=0", [](Claims& c) { c.order = 4; }},
    // All of the step is deterministic: the first-order step of every path.
    {"tcd", "eta=0",
     [](Claims& c) {
       c.order = 1;
       c.is_path_bound = false;
     }},
    {"sa_solver", "prediction=noise",
     [](Claims& c) {
       c.breaks_marginals = true;
       c.reason = "the noise that is added assumes the data form";
     }},
};

// Options with many values, at those that are methods of their own or that tables of the literature have.
struct NamedVariant {
  const char* name;
  int order;  // 0: what the options make of the entry's claim
};
constexpr NamedVariant kNamed[] = {
    {"ddim eta=0.5", 0},
    {"heun s_churn=40 s_tmin=0.05 s_tmax=50", 0},
    {"unipc order=1 corrector=false", 1},
    {"unipc order=2 corrector=false", 2},
    {"unipc order=3 corrector=false", 3},
    {"sa_solver predictor_order=1 corrector_order=0", 1},
    {"sa_solver predictor_order=2 corrector_order=2", 2},
    {"sa_solver predictor_order=2 corrector_order=2 coefficients=simplified", 2},
    {"gradient_estimation gamma=1.5", 2},  // the weights of two even steps: smooth grids have order 2
    {"dpmpp_2m_sde tau2=0.5", 2},
};

// Orders other than the literature's, measured from 128 to 1024 steps: a certificate lists them as findings and fails
// when they are no longer measured. An entry whose defaults have one says so in its trait "measured_order".
struct Owned {
  const char* name;
  double order;
  const char* because;
};
constexpr const char* kNoiseSettles =
    "the variance error changes sign near 64 steps on the Karras grid: 1.97 from 1024 to 2048";
constexpr const char* kStartShows =
    "on the mixture the h^2 of the first step comes up at the end of the window: 3.8 from 128 to 512, 2.9 from 1024";
constexpr const char* kFirstIsZero = "the first prediction is lost, which costs a first-order error";
constexpr const char* kNotYet = "not asymptotic on the mixture in the plane: 3.96 from 1024 to 2048";
constexpr Owned kOwned[] = {
    // {name, lowest slope, why}; 0: what the entry owns up to for its defaults is not so here.
    {"deis order=4", 2.93,
     "on wide data the h^2 of its first step is nearly all of the error at 1024 steps: the same number as "
     "exponential_ab's, which starts alike"},
    {"dpm_3s", 2.26, "two parts of the error of opposite sign cancel near 128 steps; 2.87 from 1024 to 2048"},
    {"dpmpp_3m_sde", 1.81, kNoiseSettles},
    {"dpmpp_3m_sde solver_type=midpoint", 1.81, kNoiseSettles},
    {"dpmpp_3m_sde lower_order_final=auto", 1.81, kNoiseSettles},
    {"dpmpp_3m_sde lower_order_final=always", 1.81, kNoiseSettles},
    {"dpmpp_3m_sde_compat tau2=0", 2.0, "half of the second difference is missing"},
    {"dpmpp_3m_sde_compat_hf tau2=0", kDiverges,
     "a wrong sign in the second difference: first order on a Gaussian, "
     "and from 1024 steps on the error on a mixture grows"},
    {"dpmpp_singlestep order=3", 2.85,
     "steps of one, two and three levels take turns: not asymptotic yet, 2.96 from "
     "1024 to 2048"},
    {"er_sde order=1", 0.0, ""},
    {"er_sde order=2", 0.0, ""},
    {"er_sde solver_type=ode", 0.0, ""},
    {"er_sde_compat order=1", 0.0, ""},
    {"er_sde_compat solver_type=reverse_sde", 0.47,
     "left sums of 200 points are first order at many steps, and cancel "
     "what is left of the method near 128"},
    {"er_sde_compat integrals=exact", 2.04, "the second difference lacks the shift of the slope to its middle"},
    {"exponential_ab", 3.77, kStartShows},
    {"exponential_ab lower_order_final=auto", 3.77, kStartShows},
    {"exponential_ab lower_order_final=always", 2.85,
     "the last steps are of order 3, 2 and 1, and their h^2 takes over within the window: 2.05 from 1024 to 2048"},
    {"ipndm_compat_hf order=1", 0.0, ""},
    {"ipndm_compat_hf order=2", 1.77, kFirstIsZero},
    {"ipndm_compat_hf order=3", 1.29, kFirstIsZero},
    {"sa_solver tau=0", 3.76, kNotYet},
    {"sa_solver predictor_order=2 corrector_order=2", 2.99,
     "why is not known; only linear data were looked at, and on the Karras grid three spreads of five change sign"},
    {"unipc order=3", 3.76, kNotYet},
};

Claims claims_of(const EntryInfo& info) {
  return {.order = trait_value(info, "order", 0),
          .evaluations_per_step = trait_value(info, "evaluations_per_step", 1),
          .extra_evaluations = trait_value(info, "extra_evaluations", 0),
          .breaks_marginals = info.has_trait("breaks_marginals"),
          .is_path_bound = info.has_trait("path_bound"),
          .has_own_levels = info.has_trait("own_levels"),
          .owned_order = trait_number(info, "measured_order", 0.0),
          .reason = info.summary};
}

void own_up(Variant& variant) {
  for (const Owned& owned : kOwned) {
    if (variant.name != owned.name) continue;
    variant.claims.owned_order = owned.order;
    if (owned.because[0] != '\0') variant.claims.reason = owned.because;
  }
}

std::vector<std::string> words_of(const std::string& name) {
  std::istringstream text(name);
  std::vector<std::string> words;
  for (std::string word; text >> word;) words.push_back(word);
  return words;
}

const Option* find_option(const EntryInfo& info, const std::string& name) {
  for (const Option& option : info.options)
    if (option.name == name) return &option;
  return nullptr;
}

// One more order asked for is one more order claimed.
void apply_order(Claims& claims, const EntryInfo& info, const std::string& setting) {
  const Option* order = find_option(info, "order");
  if (order == nullptr || !setting.starts_with("order=") || claims.order == 0) return;
  const auto* fallback = std::get_if<std::int64_t>(&order->fallback);
  if (fallback != nullptr) claims.order += std::stoi(setting.substr(6)) - static_cast<int>(*fallback);
}

void append_settings(std::vector<std::string>& settings, const Option& option) {
  const std::string fallback = format_value(option.fallback);
  for (const std::string& choice : option.choices)
    if (const auto* own = std::get_if<std::string>(&option.fallback); own == nullptr || choice != *own)
      settings.push_back(option.name + "=" + choice);
  if (option.name == "order" && std::holds_alternative<std::int64_t>(option.fallback))
    for (auto order = static_cast<std::int64_t>(option.minimum); order <= option.maximum && order <= 6; ++order)
      if (order != std::get<std::int64_t>(option.fallback)) settings.push_back(concat("order=", order));
  for (const NoiseOption& noise : kNoiseOptions)
    if (option.name == noise.name && option.choices.empty())
      settings.push_back(option.name + "=" + (fallback == "0" || fallback == "0.0" ? noise.on : "0"));
}

}  // namespace

Variant make_variant(const SamplerRegistry& registry, const std::string& name) {
  const std::vector<std::string> words = words_of(name);
  if (words.empty()) throw ConfigError("sampler: the name is empty.");
  Config config = Config::empty("sampler " + name);
  config.set("type", words.front());
  for (std::size_t i = 1; i < words.size(); ++i) {
    const std::size_t equals = words[i].find('=');
    if (equals == std::string::npos)
      throw ConfigError(concat("sampler ", name, ": \"", words[i], "\" is not option=value."));
    config.set(words[i].substr(0, equals), words[i].substr(equals + 1));
  }
  const auto& entry = registry.find(config);
  Variant variant{.name = join(words, " "),
                  .sampler = entry.info.name,
                  .info = &entry.info,
                  .solver = registry.create(config, ""),
                  .claims = claims_of(entry.info)};
  variant.maker = [solver = variant.solver, needs = entry.info.has_trait("needs_timesteps")](const Grid& grid) {
    return solver(needs && !grid.at_time ? with_timesteps(grid) : grid);
  };
  for (std::size_t i = 1; i < words.size(); ++i) {
    apply_order(variant.claims, entry.info, words[i]);
    for (const ClaimChange& change : kChanges)
      if (variant.sampler == change.sampler && words[i] == change.setting) change.apply(variant.claims);
  }
  own_up(variant);
  return variant;
}

std::vector<Variant> variants_of(const SamplerRegistry& registry, const std::string& sampler) {
  std::vector<Variant> variants{make_variant(registry, sampler)};
  std::vector<std::string> settings;
  for (const Option& option : variants.front().info->options) append_settings(settings, option);
  for (const std::string& setting : settings) {
    // A value that needs another beside it is refused by the entry itself, and is no variant.
    try {
      variants.push_back(make_variant(registry, sampler + " " + setting));
    } catch (const ConfigError&) {
    }
  }
  for (const NamedVariant& named : kNamed) {
    if (words_of(named.name).front() != sampler) continue;
    variants.push_back(make_variant(registry, named.name));
    if (named.order != 0) variants.back().claims.order = named.order;
  }
  return variants;
}

std::vector<Variant> all_variants(const SamplerRegistry& registry) {
  std::vector<Variant> all;
  for (const std::string& name : registry.names())
    for (Variant& variant : variants_of(registry, name)) all.push_back(std::move(variant));
  return all;
}

std::string without_noise(const SamplerRegistry& registry, const Variant& variant) {
  std::vector<std::string> words = words_of(variant.name);
  bool has_switch = false;
  for (const NoiseOption& noise : kNoiseOptions) {
    if (find_option(*variant.info, noise.name) == nullptr) continue;
    has_switch = true;
    std::erase_if(words, [&](const std::string& word) { return word.starts_with(std::string(noise.name) + "="); });
    words.push_back(std::string(noise.name) + "=0");
  }
  return has_switch ? make_variant(registry, join(words, " ")).name : variant.name;
}

}  // namespace thaw
