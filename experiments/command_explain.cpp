#include "experiments/command_explain.h"

#include <charconv>
#include <iostream>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "samplers/scheduler_config.h"

namespace thaw {
namespace {

// Arguments of the scheduler's calls: eta=0.5.
SchedulerCalls calls_of(const CommandLine& line) {
  SchedulerCalls calls;
  for (const std::string& setting : line.settings) {
    const std::size_t equals = setting.find('=');
    const std::string key = setting.substr(0, equals), text = setting.substr(equals + 1);
    double value = 0.0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size())
      throw ConfigError(concat("explain: ", key, ": expected a number, got \"", text, "\"."));
    calls[key] = value;
  }
  return calls;
}

}  // namespace

int command_explain(CommandLine line, const Catalog& catalog) {
  if (line.positional.size() != 1)
    throw ConfigError(concat("explain: expected one scheduler_config.json, got ", line.positional.size(), " paths."));
  if (!line.flags.empty())
    throw ConfigError(concat("explain: unknown flag --", line.flags.front(), "; it takes none."));
  const std::string& file = line.positional.front();
  constexpr std::uint64_t kMaxBytes = 1 << 20;
  const ImportedScheduler scheduler =
      import_scheduler(read_file(file, kMaxBytes), file, catalog.schedules, catalog.samplers, calls_of(line));
  std::cout << explain(scheduler) << std::flush;
  return 0;
}

}  // namespace thaw
