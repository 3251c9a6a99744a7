// Ranks as processes, started by mpirun or srun. One thread of each process speaks with MPI and sleeps when nothing
// moves: a rank that waits costs next to no time. Whoever fails tells the others why before it goes; of a rank that
// gives no sign of life for long the others say so and end. Every rank says what it waited for then. A process that
// itself stood still (SIGSTOP, a suspended machine) gives the others their time anew.
#pragma once
#include <memory>
#include <string>

#include "comm/transport.h"

namespace hadal {

struct MpiOptions {
  double silent_seconds = 30;  // without a sign of life, after which a rank counts as lost
};

// Whether this process was started by an MPI launcher, and as one of how many on this machine.
bool started_by_mpi();
int mpi_ranks_on_this_machine();  // 1 where nobody says
std::string mpi_rank_name();      // "rank 3", as the launcher of several processes says; empty where there is one
void check_built_with_mpi();      // throws unsupported, with what to install, where the module is not there

class MpiTransport : public Transport {
 public:
  // Throws unsupported, saying what is missing, where the module or MPI's library cannot be opened.
  static std::shared_ptr<MpiTransport> open(const MpiOptions& options = {});
  ~MpiTransport() override;  // waits for what was sent, and for the other ranks

  int rank() const override;
  int size() const override;
  std::string name() const override { return "mpi"; }
  bool alone_in_process() const override { return true; }
  void send(int to, Message message) override;
  Message receive(int from, const Label& wanted) override;
  void tell_last_waits(std::function<void(const std::string&)> teller) override;

  // This rank ends for this reason: the others' waits end with it. Nothing may be sent or awaited any more. Returns
  // whether that is news: no other rank has told this one before why it ends.
  bool fail(const std::string& reason);

 private:
  struct State;
  explicit MpiTransport(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hadal
