// Reading diffusers' scheduler configs: what is taken, refused, explained and found idle.
#include "tests/catch.h"

#include <set>
#include <string>

#include <nlohmann/json.hpp>

#include "core/math/plan_analysis.h"
#include "samplers/scheduler_config.h"
#include "samplers/scheduler_options.h"
#include "tests/plans.h"

using namespace thaw;
using namespace thaw::testing;
using nlohmann::json;

namespace {

ImportedScheduler imported(const json& config, const SchedulerCalls& calls = {}) {
  return import_scheduler(config.dump(), "scheduler_config.json", all_schedules(), all_samplers(), calls);
}

std::string refusal(const json& config) {
  return message_of([&] { imported(config); });
}

std::string section_of(const ImportedScheduler& scheduler, const std::string& name) {
  for (const auto& [known, yaml] : scheduler.sections)
    if (known == name) return yaml;
  return "";
}

/// The plan of the sections that `thaw explain` prints.
Plan plan_of_sections(const ImportedScheduler& scheduler, int steps) {
  const std::string yaml = section_of(scheduler, "grid");
  Config grid = Config::parse(yaml, "grid");
  // A step of no length at the end is none of ours.
  grid.set("steps", std::to_string(has_text(yaml, "steps: 19") ? steps - 1 : steps));
  const SchedulePtr schedule = all_schedules().create(Config::parse(section_of(scheduler, "schedule"), "schedule"), "");
  const Solver solver = all_samplers().create(Config::parse(section_of(scheduler, "sampler"), "sampler"), "");
  return solver(all_grids().create(grid, "", *schedule));
}

/// The published files of well known models, with the keys they really have.
const std::vector<json>& published() {
  static const std::vector<json> files{
      json::parse(R"({"_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "beta_start": 0.00085, "num_train_timesteps": 1000,
        "set_alpha_to_one": false, "skip_prk_steps": true, "steps_offset": 1, "trained_betas": null,
        "clip_sample": false})"),
      json::parse(R"({"_class_name": "EulerDiscreteScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "beta_start": 0.00085, "clip_sample": false, "interpolation_type": "linear", "num_train_timesteps": 1000,
        "prediction_type": "epsilon", "sample_max_value": 1.0, "set_alpha_to_one": false, "skip_prk_steps": true,
        "steps_offset": 1, "timestep_spacing": "leading", "trained_betas": null, "use_karras_sigmas": false})"),
      json::parse(R"({"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0})"),
      json::parse(R"({"_class_name": "CogVideoXDDIMScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "beta_start": 0.00085, "clip_sample": false, "clip_sample_range": 1.0, "num_train_timesteps": 1000,
        "prediction_type": "v_prediction", "rescale_betas_zero_snr": true, "sample_max_value": 1.0,
        "set_alpha_to_one": true, "snr_shift_scale": 3.0, "steps_offset": 0, "timestep_spacing": "trailing",
        "trained_betas": null})"),
      json::parse(R"({"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": true, "flow_shift": 3.0,
        "prediction_type": "flow_prediction", "solver_order": 2, "lower_order_final": true,
        "use_karras_sigmas": false, "final_sigmas_type": "zero", "disable_corrector": [], "solver_p": null})")};
  return files;
}

}  // namespace

CATCH_TEST_CASE("every scheduler class imports with the peer's own defaults", "[samplers][scheduler_config]") {
  // Their defaults contradict the import: clipping of an inversion.
  const std::set<std::string> refused{"DDIMInverseScheduler"};
  int imports = 0;
  for (const SchedulerClass& known : scheduler_classes()) {
    CATCH_CAPTURE(known.name);
    const json config{{"_class_name", known.name}};
    if (refused.contains(known.name)) {
      CATCH_CHECK(has_text(refusal(config), "clip_sample"));
      continue;
    }
    const ImportedScheduler scheduler = imported(config);
    CATCH_CHECK(scheduler.plan(10).evaluations() >= 10 - 1);
    CATCH_CHECK(scheduler.idle.empty());  // the file has no key that could be
    CATCH_CHECK(has_text(explain(scheduler), known.name));
    ++imports;
  }
  CATCH_CHECK(imports == 33);
}

CATCH_TEST_CASE("published files import, keys of other schedulers and all", "[samplers][scheduler_config]") {
  for (const json& file : published()) {
    CATCH_CAPTURE(file.dump());
    CATCH_CHECK(imported(file).plan(20).evaluations() >= 20);
  }
  const ImportedScheduler pndm = imported(published()[0]);
  CATCH_REQUIRE(pndm.idle.size() == 1);
  CATCH_CHECK(pndm.idle[0].key == "clip_sample");
  CATCH_CHECK(has_text(pndm.idle[0].reason, "has no such option"));
}

CATCH_TEST_CASE("an idle option changes no plan, whatever its value", "[samplers][scheduler_config]") {
  int changed = 0;
  for (const SchedulerClass& known : scheduler_classes()) {
    json config{{"_class_name", known.name}};
    for (const auto& [key, value] : known.defaults.items()) config[key] = value;
    if (known.name == "DDIMInverseScheduler") config["clip_sample"] = false;
    const ImportedScheduler scheduler = imported(config);
    for (const IdleOption& idle : scheduler.idle) {
      json other = config;
      if (config[idle.key].is_boolean())
        other[idle.key] = !config[idle.key].get<bool>();
      else if (config[idle.key].is_number())
        other[idle.key] = config[idle.key].get<double>() + 1.0;
      else
        continue;
      CATCH_CAPTURE(known.name, idle.key);
      const ImportedScheduler moved = imported(other);
      CATCH_CHECK(plan_distance(moved.plan(10), scheduler.plan(10)) == 0.0);
      CATCH_CHECK(moved.thresholding.yaml() == scheduler.thresholding.yaml());
      CATCH_CHECK(moved.start_scale(10) == scheduler.start_scale(10));
      ++changed;
    }
  }
  CATCH_CHECK(changed > 60);
}

CATCH_TEST_CASE("the printed sections have the plan of the import where it says so", "[samplers][scheduler_config]") {
  const char* sigmas[] = {"", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"};
  int compared = 0;
  for (const SchedulerClass& known : scheduler_classes())
    for (const char* spacing : {"leading", "linspace", "trailing"})
      for (const char* kind : sigmas) {
        json config{{"_class_name", known.name}};
        if (known.defaults.contains("timestep_spacing")) config["timestep_spacing"] = spacing;
        if (known.defaults.contains("clip_sample")) config["clip_sample"] = false;
        if (kind[0] != '\0' && known.defaults.contains(kind)) config[kind] = true;
        if (known.defaults.contains("final_sigmas_type") && spacing == std::string("trailing"))
          config["final_sigmas_type"] = "sigma_min";
        if (known.name == "DDIMInverseScheduler" && spacing == std::string("linspace")) continue;
        CATCH_CAPTURE(config.dump());
        const ImportedScheduler scheduler = imported(config);
        if (!scheduler.is_exact) continue;
        CATCH_CHECK(plan_distance(plan_of_sections(scheduler, 10), scheduler.plan(10)) < 1e-9);
        ++compared;
      }
  CATCH_CHECK(compared > 100);
}

CATCH_TEST_CASE("a scheduler config that is wrong is refused in one line", "[samplers][scheduler_config]") {
  const auto expect = [](const char* text, const char* part) {
    CATCH_CAPTURE(text);
    const std::string message = message_of([&] { import_scheduler(text, "s.json", all_schedules(), all_samplers()); });
    CATCH_CHECK(has_text(message, "s.json"));
    CATCH_CHECK(has_text(message, part));
    CATCH_CHECK(!has_text(message, "\n"));
  };
  expect(R"({"beta_start": 0.1})", "_class_name: missing");
  expect(R"({"_class_name": "DDIMSchedular"})", "Did you mean \"DDIMScheduler\"?");
  expect(R"({"_class_name": "VQDiffusionScheduler"})", "tokens");
  expect(R"({"_class_name": "DDIMScheduler", "timestep_spacin": "leading"})", "Did you mean \"timestep_spacing\"?");
  expect(R"({"_class_name": "DDIMScheduler", "beta_start": "a"})", "beta_start: expected a number");
  expect(R"({"_class_name": "DDIMScheduler", "clip_sample": 1})", "clip_sample: expected true or false");
  expect(R"({"_class_name": "DDIMScheduler", "timestep_spacing": "leadin"})", "Did you mean \"leading\"?");
  expect(R"({"_class_name": "DDIMScheduler", "trained_betas": [0.1, 0.2]})", "has 2 values");
  expect(R"({"_class_name": "EulerDiscreteScheduler", "use_karras_sigmas": true, "use_beta_sigmas": true})",
         "contradicts use_karras_sigmas");
  expect(R"({"_class_name": "EulerDiscreteScheduler", "final_sigmas_type": "one"})", "final_sigmas_type");
  expect(R"({"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver"})", "Use sigma_min");
  expect(R"({"_class_name": "DPMSolverMultistepScheduler", "prediction_type": "flow_prediction"})", "contradicts");
  expect(R"({"_class_name": "DPMSolverMultistepScheduler", "solver_order": 4})", "solver_order: must lie in [1, 3]");
  expect(R"({"_class_name": "EDMEulerScheduler", "sigma_min": 9, "sigma_max": 1})", "sigma_m");
  expect(R"({"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": true})", "mu");
  expect(R"({"_class_name": "DDIMScheduler", "clip_sample": true, "clip_sample": false})", "duplicate key");
  expect(R"({"_class_name": "DDIMScheduler")", "not valid JSON");
  expect(R"([1])", "expected an object");
}

CATCH_TEST_CASE("the infinities that Python writes are read", "[samplers][scheduler_config]") {
  const ImportedScheduler scheduler =
      import_scheduler(R"({"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity})", "s.json",
                       all_schedules(), all_samplers());
  CATCH_CHECK(plan_distance(scheduler.plan(10), imported({{"_class_name", "DPMSolverMultistepScheduler"}}).plan(10)) ==
              0.0);
}

CATCH_TEST_CASE("trailing timesteps that end at -1 in numpy are refused", "[samplers][scheduler_config]") {
  const ImportedScheduler scheduler = imported({{"_class_name", "DDIMScheduler"}, {"timestep_spacing", "trailing"}});
  CATCH_CHECK(has_text(message_of([&] { scheduler.plan(61); }), "timestep -1"));
  CATCH_CHECK(scheduler.plan(60).steps() == 60);
}

CATCH_TEST_CASE("arguments of the peer's calls are taken once and by name", "[samplers][scheduler_config]") {
  const json config{{"_class_name", "DDIMScheduler"}};
  CATCH_CHECK(plan_distance(imported(config, {{"eta", 1.0}}).plan(10), imported(config).plan(10)) > 0.1);
  CATCH_CHECK(has_text(message_of([&] { imported(config, {{"mu", 1.0}}); }), "take no such argument"));
}

CATCH_TEST_CASE("explain says what diffusers takes beside the file", "[samplers][scheduler_config]") {
  for (const char* name : {"EulerDiscreteScheduler", "EDMEulerScheduler"})
    CATCH_CHECK(has_text(explain(imported({{"_class_name", name}})), "churn (s_churn, s_tmin, s_tmax, s_noise)"));
  CATCH_CHECK(!has_text(explain(imported({{"_class_name", "LMSDiscreteScheduler"}})), "churn"));
  CATCH_CHECK(has_text(explain(imported({{"_class_name", "FlowMatchEulerDiscreteScheduler"}})),
                       "the network is told sigma times 1000."));
}
