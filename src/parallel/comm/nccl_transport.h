// Ranks as processes whose long messages NCCL carries, through a card of each rank: the transport of MPI
// (mpi_transport.h) in all else. Short messages, what is said about the long ones, signs of life, failures and the end
// go over MPI, which the processes also find each other by. Bytes arrive as they were sent, and sums are Group's, so a
// run has the bits that it has over threads.
//
// A rank makes one transfer at a time, so that nothing of NCCL's ever waits behind something else on a card (it
// promises no progress to two operations at once). Who wants what, in words over MPI: the sender offers, the receiver
// says go and receives, the sender hears it and sends. Nobody waits in a circle: of two ranks the one with the lower
// number commits itself first and does nothing else until the other comes to it, so every rank waits for ranks of
// higher numbers alone, and the last one for none. In detail, each rank takes these in the order in which they come up:
//   a message of its own to a higher rank     offers it, waits for go, sends
//   an offer of any rank                      says go, receives    (of a lower one, who has nothing else to do by now)
//   a go of a lower rank                      sends                (its offer went out at once)
#pragma once
#include <memory>
#include <string>

#include "comm/mpi_transport.h"

namespace hadal {

struct NcclModule;

struct NcclOptions {
  double silent_seconds = 30;               // as of MpiOptions
  int64_t least_bytes = int64_t(16) << 10;  // of a message that goes over NCCL; chosen, not measured
};

class NcclTransport final : public MpiTransport {
 public:
  // Throws unsupported, saying what is missing, where MPI, the module, CUDA's driver, NCCL or a card for each rank
  // is not to be had.
  static std::shared_ptr<NcclTransport> open(const NcclOptions& options = {});
  ~NcclTransport() override;

  std::string name() const override { return "nccl"; }
  void send(int to, Message message) override;

 private:
  struct Courier;
  explicit NcclTransport(const NcclOptions& options);
  void connect(const std::shared_ptr<NcclTransport>& self, const NcclModule& module, int n_cards);
  std::unique_ptr<Courier> courier_;
};

}  // namespace hadal
