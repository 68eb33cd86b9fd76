#include "samplers/sampler.h"

#include <charconv>

#include "core/base/error.h"

namespace thaw {

#define THAW_SAMPLER(name) void register_sampler_##name(SamplerRegistry& registry);
#include "samplers/list.def"
#undef THAW_SAMPLER

void register_samplers(SamplerRegistry& registry) {
#define THAW_SAMPLER(name) register_sampler_##name(registry);
#include "samplers/list.def"
#undef THAW_SAMPLER
}

int trait_value(const EntryInfo& info, const std::string& key, int fallback) {
  for (const std::string& trait : info.traits) {
    if (trait.rfind(key + "=", 0) != 0) continue;
    const char* begin = trait.data() + key.size() + 1;
    int value = fallback;
    std::from_chars(begin, trait.data() + trait.size(), value);
    return value;
  }
  return fallback;
}

std::optional<int> steps_within(const Solver& solver, const GridFactory& grid, int evaluations) {
  std::optional<int> best;
  // Every solver asks at least once a step, so that more steps than evaluations never fit.
  for (int steps = 1; steps <= evaluations; ++steps) {
    Grid candidate;
    try {
      candidate = grid(steps);
    } catch (const ConfigError&) {
      if (!best) throw;
      break;
    }
    if (solver(candidate).evaluations() > evaluations) break;
    best = steps;
  }
  return best;
}

}  // namespace thaw
