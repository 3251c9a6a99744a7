// Options of verbs that run on several ranks: how many there are, and whether they are threads or processes.
#pragma once
#include <memory>
#include <string>

#include "apps/cli.h"
#include "comm/transport.h"
#include "config/config.h"

namespace hadal {

struct RankOptions {
  std::string layout, transport = "auto";
  int64_t ranks = 0;
  double watchdog = 30;
};
void add_rank_options(Verb verb, RankOptions& options);  // --ranks, --layout, --transport, --watchdog
// --ranks with this help, --transport, --watchdog: of verbs whose ranks have no layout.
void add_count_of_ranks(Verb verb, RankOptions& options, const std::string& help);
void add_transport_option(Verb verb, std::string& transport);

// Brings config.parallel and options together and opens the transport of ranks that are processes, whose threads divide
// the machine's cores where `common` does not say how many. Null: ranks are threads of this process; else the transport
// is an MpiTransport. With --transport mpi or nccl outside of mpirun the program is started anew under mpirun, and this
// does not return.
std::shared_ptr<Transport> open_ranks(const RankOptions& options, Config& config, CommonOptions& common);

// The second half of it: the transport of so many processes, or null where ranks are threads.
std::shared_ptr<Transport> open_processes(const std::string& transport, int64_t n_ranks, CommonOptions& common,
                                          double watchdog = 30);

}  // namespace hadal
