#pragma once
// SIGINT and SIGTERM ask for a stop at the next safe point; a second signal ends the process at once.

namespace thaw {

void install_stop_handlers();
bool stop_requested();
/// For tests and embedding programs.
void request_stop();

}  // namespace thaw
