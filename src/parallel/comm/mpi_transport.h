// Ranks as processes, started by mpirun or srun. One thread of each process speaks with MPI and sleeps when nothing
// moves: a rank that waits costs next to no time. Whoever fails tells the others why before it goes; of a rank that
// gives no sign of life for long the others say so and end. Every rank says what it waited for then. A process that
// itself stood still (SIGSTOP, a suspended machine) gives the others their time anew.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

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

 protected:
  explicit MpiTransport(const MpiOptions& options);
  // What every rank says at first, in rank order. Throws invalid where not all speak over the same transport.
  static std::vector<std::string> greet(const std::shared_ptr<MpiTransport>& transport, const std::string& word);

  // For a transport that sends some messages by other means, and over MPI what must be said about them. All but end()
  // may be called from any thread.
  using Listener = std::function<void(int from, const Message& message)>;
  void listen(uint64_t channel, Listener listener);  // is told, on MPI's thread, what comes in this channel
  void announce(int from);                  // a message of `from` is under way: it may end and this still comes
  void deliver(int from, Message message);  // here it is
  void lose(const std::string& reason);     // every wait of this rank ends for this reason
  std::string failure() const;              // for which this rank cannot go on; "": none
  void end();                               // waits for what was sent, and for the other ranks

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hadal
