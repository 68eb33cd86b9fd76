#include "core/base/stop.h"

#include <atomic>
#include <csignal>

namespace thaw {

namespace {

std::atomic<bool> is_requested{false};

extern "C" void on_signal(int signal) {
  if (is_requested.exchange(true)) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
}

}  // namespace

void install_stop_handlers() {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
}

bool stop_requested() {
  return is_requested.load();
}
void request_stop() {
  is_requested = true;
}

}  // namespace thaw
