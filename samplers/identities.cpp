#include "samplers/identities.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "core/math/schedule.h"

namespace thaw {
namespace {

constexpr double kSame = 1e-12;

Identity same(const char* left, const char* right, const char* because) {
  return {.left = left, .right = right, .claims_equal = true, .because = because, .bound = kSame};
}

Identity different(const char* left, const char* right, const char* because, double at_least = 1e-3) {
  return {.left = left, .right = right, .claims_equal = false, .because = because, .bound = at_least};
}

// Two names for one method, or one name for two: each is a mistake people make.
std::vector<Identity> statements() {
  Identity full = same("ddim eta=1", "ddpm", "fixed-small on all timesteps: Song et al. 2021, section 4.1");
  full.is_full_length = true;
  Identity upper = same("ddpm variance=learned", "ddpm variance=large", "at v = 1: Nichol and Dhariwal 2021, eq. 15");
  upper.learned = 1.0;
  return {
      full,
      same("ddim eta=1", "ddpm", "the posterior variance, on any grid"),
      same("ddpm variance=learned", "ddpm", "at v = -1: Nichol and Dhariwal 2021, eq. 15"),
      upper,
      same("euler", "ddim", "Euler in sigma / alpha"),
      same("dpmpp_1s", "ddim", "Lu et al. 2022 (DPM-Solver++), section 4"),
      same("ddim_cfgpp", "ddim", "without guidance"),
      same("euler_ancestral", "ddim eta=1", "fresh = eta sigma_t sqrt(1 - e^-2h) in both"),
      same("euler_ancestral eta=0.5", "ddim eta=0.5", "the same eta"),
      same("dpmpp_singlestep order=1 tau2=1", "ddim eta=1", "SDE-DPM-Solver++ 1: 1 - e^(-2 tau2 h) with tau2 = 1"),
      same("sa_solver predictor_order=1 corrector_order=0", "ddim eta=1", "Xue et al. 2023, section 5, tau = 1"),
      same("er_sde order=1 solver_type=reverse_sde", "ddim eta=1", "Cui et al. 2023 with phi(x) = x^2"),
      same("unipc order=2 corrector=false", "dpmpp_2m", "UniP-2 bh2: Zhao et al. 2023, appendix"),
      same("unipc order=3 corrector=false", "dpmpp_3m", "UniP-3 is 3M with the factor that its code misses"),
      same("exponential_ab order=3", "dpmpp_3m solver_type=heun", "exact weights of three predictions"),
      same("deis", "dpm_3m solver_type=heun", "exponential Adams-Bashforth in the noise"),
      same("deis order=2", "dpm_2m solver_type=heun", "the same with two predictions"),
      same("dpm_2s", "dpm2", "midpoint in lambda is the geometric midpoint in sigma / alpha"),
      same("res_2s", "dpmpp_2s solver_type=heun", "phi_2 weights with c2 = 1/2"),
      same("res_multistep", "dpmpp_2m solver_type=heun", "phi_2 weights of two predictions"),
      same("sa_solver tau=0 coefficients=simplified", "unipc order=3 variant=bh1", "the shortcut at order 2 is bh1"),
      same("dpmpp_2m_sde tau2=0", "dpmpp_2m", "noise turned off"),
      same("dpmpp_3m_sde_compat tau2=0", "dpmpp_3m_compat solver_type=heun", "noise turned off"),
      same("dpm2_ancestral eta=0", "dpm2", "noise turned off"),
      same("dpmpp_2s_ancestral eta=0", "dpmpp_2s", "noise turned off"),
      same("dpmpp_sde eta=0", "dpmpp_2s", "noise turned off"),
      same("lms order=2", "ipndm_v order=2", "Adams-Bashforth on the nodes as they are"),
      same("lcm", "consistency", "a denoiser that meets its boundary condition"),
      different("ddim eta=0.5", "dpmpp_singlestep order=1 tau2=0.5", "eta and the strength of the SDE agree at 0 and 1",
                1e-2),
      different("unipc order=2 corrector=false variant=bh1", "dpmpp_2m", "h / 2 is not (1 - e^-h) / 2"),
      different("dpmpp_2m", "dpmpp_2m solver_type=heun", "two weights of the slope"),
      different("dpmpp_3m", "dpmpp_3m_compat", "a factor 2 in one weight"),
      different("dpmpp_3m_sde", "dpmpp_3m_sde_compat", "the same factor"),
      different("dpmpp_3m_sde", "dpmpp_3m_sde_compat_hf", "a sign in diffusers"),
      different("dpmpp_2m_v2", "dpmpp_2m", "a step ratio upside down"),
      different("ipndm", "ipndm_v", "constant weights on uneven steps"),
      different("er_sde", "er_sde_compat", "the middle of the second difference"),
      different("ddpm", "ddpm variance=large", "two variances"),
  };
}

std::vector<Grid> short_grids() {
  std::vector<Grid> grids;
  for (const Path* path : standard_paths()) {
    grids.push_back(uneven_grid(*path, 9, false));
    grids.push_back(uneven_grid(*path, 17, false));
    grids.push_back(uneven_grid(*path, 9, true));
  }
  return grids;
}

std::optional<Plan> try_plan(const Variant& variant, const Grid& grid, double v = -1.0) {
  if (variant.solver.is_adaptive()) return std::nullopt;
  try {
    return with_fixed_variance(variant.maker(grid), v);
  } catch (const ConfigError&) {
    return std::nullopt;
  }
}

// All T timesteps of the linear table and the clean end.
Grid full_table() {
  ScheduleRegistry registry("schedule");
  register_schedules(registry);
  const SchedulePtr table = registry.create(Config::parse("{type: linear}", "the linear table"), "");
  std::vector<Level> levels;
  for (std::int64_t t = table->discrete_steps() - 1; t >= 0; --t) levels.push_back(table->at(static_cast<double>(t)));
  levels.push_back({1.0, 0.0});
  return make_grid(table->path(), std::move(levels));
}

void measure(Identity& identity, const SamplerRegistry& registry) {
  const auto has = [&](const std::string& name) { return registry.contains(name.substr(0, name.find(' '))); };
  identity.is_known = has(identity.left) && has(identity.right);
  if (!identity.is_known) return;
  const Variant left = make_variant(registry, identity.left);
  const Variant right = make_variant(registry, identity.right);
  std::vector<double> distances;
  for (const Grid& grid : identity.is_full_length ? std::vector<Grid>{full_table()} : short_grids()) {
    const std::optional<Plan> a = try_plan(left, grid, identity.learned), b = try_plan(right, grid);
    // Refusing the same grids is part of being the same; a grid that both refuse says nothing.
    if (a && b) distances.push_back(plan_distance(*a, *b));
    if (a.has_value() != b.has_value()) distances.push_back(std::numeric_limits<double>::infinity());
  }
  if (distances.empty()) distances.push_back(std::numeric_limits<double>::quiet_NaN());
  const auto [least, worst] = std::minmax_element(distances.begin(), distances.end());
  identity.distance = identity.claims_equal ? *worst : *least;
}

}  // namespace

std::vector<Identity> check_identities(const SamplerRegistry& registry) {
  std::vector<Identity> identities = statements();
  for (Identity& identity : identities) measure(identity, registry);
  return identities;
}

std::vector<std::string> equality_classes(std::span<const Variant> variants) {
  // tableaus[v][g]; one noise basis a grid, so that each tableau is made once and not once a pair.
  std::vector<std::vector<Tableau>> tableaus(variants.size());
  std::vector<bool> runs(variants.size(), true);
  for (const Grid& grid : short_grids()) {
    std::vector<std::optional<Plan>> plans;
    std::vector<const Plan*> made;
    for (const Variant& variant : variants) plans.push_back(try_plan(variant, grid));
    for (const auto& plan : plans)
      if (plan) made.push_back(&*plan);
    std::vector<Tableau> all = normal_forms(made);
    for (std::size_t v = 0, next = 0; v < variants.size(); ++v) {
      runs[v] = runs[v] && plans[v].has_value();
      if (plans[v]) tableaus[v].push_back(std::move(all[next++]));
    }
  }
  const auto are_same = [&](std::size_t a, std::size_t b) {
    for (std::size_t g = 0; g < tableaus[a].size(); ++g)
      if (!(tableau_distance(tableaus[a][g], tableaus[b][g]) <= kSame)) return false;
    return true;
  };
  std::vector<std::string> names(variants.size());
  for (std::size_t v = 0; v < variants.size(); ++v)
    for (std::size_t first = 0; runs[v] && first < v && names[v].empty(); ++first)
      if (runs[first] && names[first].empty() && are_same(first, v)) names[v] = variants[first].name;
  return names;
}

}  // namespace thaw
