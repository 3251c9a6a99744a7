#include "apps/rank_options.h"

#include <algorithm>

#include "apps/mpi_start.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "comm/mpi_transport.h"
#include "config/config_io.h"

namespace hadal {
void add_rank_options(Verb verb, RankOptions& options) {
  verb.add_option("--ranks", options.ranks,
                  "ranks that divide batch, optimizer and cores among themselves; may be another number at every start "
                  "of a run")
      .positive();
  verb.add_option(
      "--layout", options.layout,
      "the same by axes, such as dp=2 or dp=2,pp=4,schedule=dualpipe; axes: dp, pp, ep, tp, cp (docs/parallelism.md)");
  verb.add_option("--transport", options.transport,
                  "threads: ranks are threads of this process; mpi: processes, started by mpirun or srun, or by this "
                  "command itself; auto: mpi where such a launcher started it, else threads")
      .one_of({"auto", "threads", "mpi"});
  verb.add_option(
          "--watchdog", options.watchdog,
          "seconds without a sign of life after which a rank that is a process counts as lost, and the job ends")
      .within(0.5, 1e6)
      .show_default();
}

std::shared_ptr<Transport> open_ranks(const RankOptions& options, Config& config, CommonOptions& common) {
  if (!options.layout.empty()) config.parallel = parse_layout(options.layout);
  if (options.ranks > 0 && options.layout.empty()) config.parallel = {.dp = options.ranks};
  check(options.ranks == 0 || options.ranks == config.parallel.ranks(), ErrorKind::invalid,
        "--ranks {}, but layout '{}' has {} ranks; give one of the two, or the same number", options.ranks,
        options.layout, config.parallel.ranks());
  const bool launched = started_by_mpi();
  if (options.transport == "threads" || (options.transport == "auto" && !launched)) return nullptr;
  if (!launched) run_under_mpirun(config.parallel.ranks(), common.quiet);
  std::shared_ptr<Transport> transport = MpiTransport::open({.silent_seconds = options.watchdog});
  if (options.layout.empty() && options.ranks == 0 && config.parallel.ranks() == 1)
    config.parallel.dp = transport->size();
  if (common.threads == 0) common.threads = std::max(1, granted_threads() / mpi_ranks_on_this_machine());
  return transport;
}

}  // namespace hadal
