#include "samplers/sampler.h"

#include <charconv>
#include <exception>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {

#define THAW_SAMPLER(name) void register_sampler_##name(SamplerRegistry& registry);
#include "samplers/list.def"
#undef THAW_SAMPLER

void register_samplers(SamplerRegistry& registry) {
#define THAW_SAMPLER(name) register_sampler_##name(registry);
#include "samplers/list.def"
#undef THAW_SAMPLER
}

Solver Solver::adaptive(std::string name, Method method, Limit limit) {
  Solver solver;
  solver.name_ = std::move(name);
  solver.method_ = std::move(method);
  solver.limit_ = std::move(limit);
  return solver;
}

Plan Solver::operator()(const Grid& grid) const {
  if (is_adaptive())
    throw ConfigError(concat("sampler \"", name_,
                             "\": decides its steps from what the network answers, so that it has no plan to print, "
                             "count or compare. Sampling takes it; for a plan use a sampler without the trait "
                             "\"adaptive\"."));
  return plan_(grid);
}

MachineMethod Solver::method(const Grid& grid) const {
  expect_grid(grid);
  return [method = method_, grid](Machine& machine, Reg x) { return method(machine, grid, x); };
}

std::optional<std::int64_t> Solver::most_evaluations(const Grid& grid) const {
  if (!is_adaptive()) return plan_(grid).evaluations();
  return limit_ ? limit_(grid) : std::nullopt;
}

double trait_number(const EntryInfo& info, const std::string& key, double fallback) {
  for (const std::string& trait : info.traits) {
    if (trait.rfind(key + "=", 0) != 0) continue;
    double value = fallback;
    std::from_chars(trait.data() + key.size() + 1, trait.data() + trait.size(), value);
    return value;
  }
  return fallback;
}

int trait_value(const EntryInfo& info, const std::string& key, int fallback) {
  return static_cast<int>(trait_number(info, key, fallback));
}

std::optional<int> steps_within(const Solver& solver, const GridFactory& grid, int evaluations) {
  std::optional<int> best;
  std::exception_ptr refusal;  // of the first count; a grid may have few counts it allows, or one
  // Every solver asks at least once a step, so that more steps than evaluations never fit.
  for (int steps = 1; steps <= evaluations; ++steps) {
    Grid candidate;
    try {
      candidate = grid(steps);
    } catch (const ConfigError&) {
      if (best) break;
      if (!refusal) refusal = std::current_exception();
      continue;
    }
    refusal = nullptr;
    const auto most = solver.most_evaluations(candidate);
    if (!most)
      throw ConfigError(concat("sampler \"", solver.name(),
                               "\": takes as many evaluations as its tolerance asks for, so that it fits no budget of ",
                               evaluations, ". Set its max_evaluations, or leave it out of the comparison."));
    if (*most > evaluations) break;
    best = steps;
  }
  if (refusal) std::rethrow_exception(refusal);
  return best;
}

}  // namespace thaw
