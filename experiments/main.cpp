#include <cstdio>
#include <exception>

#include "core/base/error.h"
#include "core/base/stop.h"
#include "core/device.h"
#include "experiments/commands.h"

int main(int count, char** arguments) {
  try {
    thaw::install_stop_handlers();
    return thaw::run_command(thaw::parse_command_line(count, arguments), thaw::make_catalog());
  } catch (const thaw::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    if (thaw::is_out_of_memory(error)) {
      std::fprintf(stderr,
                   "out of memory; lower sampling.micro_batch or train.micro_batch, or choose a smaller network\n");
      return static_cast<int>(thaw::ExitCode::kResources);
    }
    std::fprintf(stderr, "a defect of thaw, please report it: %s\n", error.what());
    return static_cast<int>(thaw::ExitCode::kBug);
  }
}
