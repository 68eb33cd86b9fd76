#include "experiments/published_schedule.h"

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/io/json_guard.h"

namespace thaw {

nlohmann::json scheduler_values(std::string text, const std::string& file) {
  // Python writes -Infinity, which is no JSON.
  constexpr std::string_view kName = "Infinity";
  for (std::size_t at = text.find(kName); at != std::string::npos; at = text.find(kName, at))
    text.replace(at, kName.size(), "1e308");
  nlohmann::json values = parse_json_text(text, file);
  if (!values.is_object()) throw DataError(concat(file, ": expected an object of settings."));
  return values;
}

void take_published_schedule(const ImportedScheduler& scheduler, const Grid& grid, const Catalog& catalog,
                             Parameterisation& parameterisation) {
  const std::string& file = scheduler.file;
  if (scheduler.negates_output || scheduler.prediction == "consistency")
    throw ConfigError(concat(file, ": prediction of class \"", scheduler.class_name,
                             "\" with these options is not what a published network here can be asked for."));
  parameterisation.prediction = prediction_from_name(scheduler.prediction);
  for (const auto& [name, yaml] : scheduler.sections)
    if (name == "schedule")
      parameterisation.schedule =
          catalog.schedules.create(Config::parse("schedule: " + yaml, file).section("schedule"), "");
  for (std::size_t i = 0; i < grid.size(); ++i)
    if (!grid[i].is_clean()) parameterisation.told.emplace_back(grid[i].lambda(), grid.times[i]);
}

}  // namespace thaw
