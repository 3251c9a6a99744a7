// Signals: the first SIGINT or SIGTERM asks (loops poll interrupted() and end cleanly), the second leaves at once with 130.
// SIGPIPE is ignored, so that a closed pipe is an error of the write that met it.
#pragma once

namespace hadal {

void install_signal_handlers();  // once, from main
bool interrupted();
void request_interrupt();        // as if the first signal had come (tests, callbacks)
void clear_interrupt();

}  // namespace hadal
