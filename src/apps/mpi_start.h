// hadal ... --transport mpi outside of a launcher: this program started anew under mpirun, which it looks after.
#pragma once
#include <cstdint>

namespace hadal {

// Runs this program's own command as so many processes and ends with their exit code. A Ctrl-C asks them to stop after
// the step and lets them: mpirun alone would kill them a second later. The second one ends them. Where they fail the
// line that was run is said, quiet or not, and what to try. Throws unsupported, with that line, where mpirun cannot be
// started.
[[noreturn]] void run_under_mpirun(int64_t n_ranks, bool quiet);

}  // namespace hadal
