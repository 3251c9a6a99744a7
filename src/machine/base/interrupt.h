// Signals: SIGINT, SIGTERM, SIGUSR1 (mpirun and Slurm hand it on) and SIGHUP (a closed terminal) end the program at
// once, as everywhere, except where it promises to look: while a CleanStop lives, the first of them only asks (its
// holder polls interrupted() and ends cleanly) and the second ends the program. So a wait that nobody polls in (a file
// of the network, a thread that never wakes) cannot outlive `kill`.
// SIGPIPE and SIGXFSZ are ignored, so that a closed pipe and a file at its size limit are errors of the write that met
// them.
#pragma once

namespace hadal {

void install_signal_handlers();  // once, from main
bool interrupted();
void stop_if_interrupted(const char* what_now);  // throws io, "interrupted; WHAT NOW"
void request_interrupt();                        // as if the first signal had come (tests, callbacks)
void clear_interrupt();

// Held by work that polls. `promise` (a literal) completes "hadal: ...; once more to leave at once". Scopes may nest;
// they belong to the main thread.
class CleanStop {
 public:
  explicit CleanStop(const char* promise);
  ~CleanStop();
  CleanStop(const CleanStop&) = delete;
  CleanStop& operator=(const CleanStop&) = delete;

 private:
  const char* before_;
};

}  // namespace hadal
