#pragma once
// Components by name and option text, for tests of mathematics and plans.

#include <string>

#include "core/base/config.h"
#include "core/math/grid.h"
#include "core/math/schedule.h"
#include "core/math/weighting.h"
#include "samplers/sampler.h"
#include "tests/catch.h"

#if CATCH_VERSION_MAJOR < 3
namespace Catch {
using Detail::Approx;  // where version 3 has it
}
#endif

namespace thaw::testing {

/// The message of the error that `call` throws, empty when it throws none.
template <class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

inline bool has_text(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

inline Config section(const std::string& type, const std::string& options) {
  return Config::parse("{type: " + type + (options.empty() ? "" : ", " + options) + "}", "test.yaml");
}

inline const ScheduleRegistry& all_schedules() {
  static const ScheduleRegistry registry = [] {
    ScheduleRegistry filled("schedule");
    register_schedules(filled);
    return filled;
  }();
  return registry;
}

inline const GridRegistry& all_grids() {
  static const GridRegistry registry = [] {
    GridRegistry filled("grid");
    register_grids(filled);
    return filled;
  }();
  return registry;
}

inline const WeightingRegistry& all_weightings() {
  static const WeightingRegistry registry = [] {
    WeightingRegistry filled("weighting");
    register_weightings(filled);
    return filled;
  }();
  return registry;
}

inline const SamplerRegistry& all_samplers() {
  static const SamplerRegistry registry = [] {
    SamplerRegistry filled("sampler");
    register_samplers(filled);
    return filled;
  }();
  return registry;
}

/// make_schedule("flow", "shift: 3")
inline SchedulePtr make_schedule(const std::string& type, const std::string& options = "") {
  return all_schedules().create(section(type, options), "");
}

inline Grid make_grid_on(const Schedule& schedule, const std::string& type, int steps,
                         const std::string& options = "") {
  const std::string own = "steps: " + std::to_string(steps) + (options.empty() ? "" : ", " + options);
  return all_grids().create(section(type, own), "", schedule);
}

inline Solver make_solver(const std::string& type, const std::string& options = "") {
  return all_samplers().create(section(type, options), "");
}

/// sigma 80 -> 0.002 on the rho = 7 grid of Karras et al., N intervals, not going on to 0.
inline Grid karras_grid(int steps, const std::string& final = "sigma_min") {
  return make_grid_on(*make_schedule("edm"), "karras", steps, "final: " + final);
}

}  // namespace thaw::testing
