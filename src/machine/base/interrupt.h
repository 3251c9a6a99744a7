// Signals: the first SIGINT or SIGTERM asks (loops poll interrupted() and end cleanly), the second leaves at once with
// 130. SIGPIPE and SIGXFSZ are ignored, so that a closed pipe and a file at its size limit are errors of the write that
// met them.
#pragma once

namespace hadal {

void install_signal_handlers();  // once, from main
bool interrupted();
void request_interrupt();  // as if the first signal had come (tests, callbacks)
void clear_interrupt();

}  // namespace hadal
