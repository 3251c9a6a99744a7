#include "apps/rank_options.h"

#include <algorithm>

#include "apps/mpi_start.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "comm/mpi_transport.h"
#include "comm/nccl_cards.h"
#include "comm/nccl_transport.h"
#include "config/config_io.h"

namespace hadal {
namespace {

void add_watchdog(Verb verb, RankOptions& options) {
  verb.add_option(
          "--watchdog", options.watchdog,
          "seconds without a sign of life after which a rank that is a process counts as lost, and the job ends")
      .within(0.5, 1e6)
      .show_default();
}

}  // namespace

void add_rank_options(Verb verb, RankOptions& options) {
  verb.add_option("--ranks", options.ranks,
                  "ranks that divide batch, optimizer and cores among themselves; may be another number at every start "
                  "of a run")
      .positive();
  verb.add_option(
      "--layout", options.layout,
      "the same by axes, such as dp=2 or dp=2,pp=4,schedule=dualpipe; axes: dp, pp, ep, tp, cp (docs/parallelism.md)");
  add_transport_option(verb, options.transport);
  add_watchdog(verb, options);
}

void add_count_of_ranks(Verb verb, RankOptions& options, const std::string& help) {
  verb.add_option("--ranks", options.ranks, help).positive();
  add_transport_option(verb, options.transport);
  add_watchdog(verb, options);
}

std::shared_ptr<Transport> open_ranks(const RankOptions& options, Config& config, CommonOptions& common) {
  if (!options.layout.empty()) config.parallel = parse_layout(options.layout);
  if (options.ranks > 0 && options.layout.empty()) config.parallel = {.dp = options.ranks};
  check(options.ranks == 0 || options.ranks == config.parallel.ranks(), ErrorKind::invalid,
        "--ranks {}, but layout '{}' has {} ranks; give one of the two, or the same number", options.ranks,
        options.layout, config.parallel.ranks());
  const int64_t n_ranks = config.parallel.ranks();
  std::shared_ptr<Transport> transport = open_processes(options.transport, n_ranks, common, options.watchdog);
  if (transport && options.layout.empty() && options.ranks == 0 && n_ranks == 1) config.parallel.dp = transport->size();
  return transport;
}

std::shared_ptr<Transport> open_processes(const std::string& transport, int64_t n_ranks, CommonOptions& common,
                                          double watchdog) {
  const bool launched = started_by_mpi();
  if (transport == "threads" || (transport == "auto" && !launched)) return nullptr;
  const bool nccl = transport == "nccl";
  check_built_with_mpi();  // before processes are started that could only say so
  if (!launched && nccl) check_nccl_can_start(n_ranks);
  if (!launched) run_under_mpirun(n_ranks, common.quiet);
  std::shared_ptr<MpiTransport> opened;
  if (nccl) opened = NcclTransport::open({.silent_seconds = watchdog});
  if (!nccl) opened = MpiTransport::open({.silent_seconds = watchdog});
  common.processes = mpi_ranks_on_this_machine();
  if (common.threads == 0) common.threads = std::max(1, granted_threads() / common.processes);
  return opened;
}

void add_transport_option(Verb verb, std::string& transport) {
  verb.add_option("--transport", transport,
                  "threads: ranks are threads of this process; mpi: processes, started by mpirun or srun, or by this "
                  "command itself; nccl: such processes whose long messages go through a card of each; auto: mpi where "
                  "such a launcher started it, else threads")
      .one_of({"auto", "threads", "mpi", "nccl"});
}

}  // namespace hadal
