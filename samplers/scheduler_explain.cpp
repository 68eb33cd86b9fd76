// What an imported scheduler amounts to, in words and as a configuration.

#include <algorithm>

#include "core/base/text.h"
#include "samplers/scheduler_config.h"

namespace thaw {
namespace {

std::string words_of(const ImportedThresholding& thresholding) {
  switch (thresholding.kind) {
    case ImportedThresholding::Kind::kClip:
      return concat("clipped to [-", format_short(thresholding.range), ", ", format_short(thresholding.range), "]");
    case ImportedThresholding::Kind::kDynamic:
      return concat("thresholded at the ", format_short(thresholding.quantile), " quantile of |x0|, at most ",
                    format_short(thresholding.maximum), " (Saharia et al. 2022)");
    case ImportedThresholding::Kind::kNone:
      break;
  }
  return "left as they are";
}

std::string words_of(const Grid& grid) {
  const Level &first = grid.front(), &last = grid.back();
  return concat("from sigma / alpha ", format_short(first.rho()), " at t = ", format_short(grid.times.front()), " to ",
                last.is_clean() ? std::string("the clean level") : concat("sigma / alpha ", format_short(last.rho())));
}

}  // namespace

std::string explain(const ImportedScheduler& scheduler) {
  constexpr int kSteps = 20;
  std::string text = concat(scheduler.file, ": ", scheduler.class_name, " of diffusers\n\n");
  text += concat("The network predicts ", scheduler.prediction, scheduler.negates_output ? " with the other sign" : "",
                 "; x0 estimates are ", words_of(scheduler.thresholding), ".\n");
  try {
    const Grid grid = scheduler.grid(kSteps);
    const Plan plan = scheduler.solver(grid);
    text +=
        concat("With ", kSteps, " steps it runs ", words_of(grid), ", ", plan.evaluations(), " network calls, from ",
               format_short(scheduler.start_scale(kSteps), 6), " times standard normal noise.\n");
  } catch (const ConfigError& error) {
    text += concat("With ", kSteps, " steps it cannot run: ", error.what(), "\n");
  }
  text += concat("\n# ",
                 scheduler.is_exact ? "the same in this project's terms" : "the nearest in this project's terms", "\n");
  for (const auto& [name, yaml] : scheduler.sections) text += concat(name, ": ", yaml, "\n");
  text += concat("objective: {prediction: ", scheduler.prediction, "}\n");
  if (!scheduler.notes.empty()) text += "\nReproduced as they are:\n";
  for (const std::string& note : scheduler.notes) text += concat("  - ", note, "\n");
  if (!scheduler.idle.empty()) text += "\nOptions that change nothing:\n";
  for (const IdleOption& idle : scheduler.idle) text += concat("  - ", idle.key, ": ", idle.reason, "\n");
  return text;
}

}  // namespace thaw
