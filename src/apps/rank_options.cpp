#include "apps/rank_options.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "base/thread_pool.h"
#include "comm/mpi_transport.h"
#include "config/config_io.h"

namespace hadal {
namespace {

// The words of this program's own command, without --transport, which the started ranks know by themselves.
std::vector<std::string> own_arguments() {
  const std::string line = read_file("/proc/self/cmdline");
  std::vector<std::string> words;
  for (size_t at = 0; at < line.size();) {
    const size_t end = std::min(line.find('\0', at), line.size());
    words.push_back(line.substr(at, end - at));
    at = end + 1;
  }
  std::vector<std::string> kept;
  for (size_t i = 1; i < words.size(); ++i) {
    if (words[i] == "--transport") {
      ++i;
    } else if (!words[i].starts_with("--transport=")) {
      kept.push_back(words[i]);
    }
  }
  return kept;
}

// The command that starts this one as so many processes, word by word.
std::vector<std::string> mpirun_command(int64_t n_ranks, const std::vector<std::string>& arguments, bool is_root) {
  // What a laptop and a container need: more ranks than cores, no binding to cores, no reading of other processes'
  // memory.
  std::vector<std::string> command = {"mpirun",
                                      "-n",
                                      std::to_string(n_ranks),
                                      "--oversubscribe",
                                      "--bind-to",
                                      "none",
                                      "--mca",
                                      "btl_vader_single_copy_mechanism",
                                      "none"};
  if (is_root) command.push_back("--allow-run-as-root");
  command.push_back(std::filesystem::read_symlink("/proc/self/exe").string());
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

[[noreturn]] void start_under_mpirun(int64_t n_ranks, bool quiet) {
  const std::vector<std::string> command = mpirun_command(n_ranks, own_arguments(), geteuid() == 0);
  std::string line;
  for (const std::string& word : command) line += (line.empty() ? "" : " ") + word;
  print_notes({"starting " + line}, quiet);
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  execvp(words[0], words.data());
  fail(ErrorKind::unsupported,
       "mpirun cannot be started ({}): install openmpi-bin (./setup --tests), or use ranks as threads: --ranks {}",
       std::strerror(errno), n_ranks);
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
}

std::shared_ptr<Transport> open_ranks(const RankOptions& options, Config& config, CommonOptions& common) {
  if (!options.layout.empty()) config.parallel = parse_layout(options.layout);
  if (options.ranks > 0 && options.layout.empty()) config.parallel = {.dp = options.ranks};
  check(options.ranks == 0 || options.ranks == config.parallel.ranks(), ErrorKind::invalid,
        "--ranks {}, but layout '{}' has {} ranks; give one of the two, or the same number", options.ranks,
        options.layout, config.parallel.ranks());
  const int64_t n_ranks = config.parallel.ranks();
  std::shared_ptr<Transport> transport = open_processes(options.transport, n_ranks, common);
  if (transport && options.layout.empty() && options.ranks == 0 && n_ranks == 1) config.parallel.dp = transport->size();
  return transport;
}

std::shared_ptr<Transport> open_processes(const std::string& transport, int64_t n_ranks, CommonOptions& common) {
  check(transport != "nccl", ErrorKind::unsupported,
        "--transport nccl: this program computes on CPUs alone and has no NCCL in it; ranks are threads or, with "
        "--transport mpi, processes");
  const bool launched = started_by_mpi();
  if (transport == "threads" || (transport == "auto" && !launched)) return nullptr;
  if (!launched) start_under_mpirun(n_ranks, common.quiet);
  std::shared_ptr<Transport> opened = MpiTransport::open();
  if (common.threads == 0) common.threads = std::max(1, granted_threads() / mpi_ranks_on_this_machine());
  return opened;
}

void add_transport_option(Verb verb, std::string& transport) {
  verb.add_option("--transport", transport,
                  "threads: ranks are threads of this process; mpi: processes, started by mpirun or srun, or by this "
                  "command itself; auto: mpi where such a launcher started it, else threads")
      .one_of({"auto", "threads", "mpi", "nccl"});
}

}  // namespace hadal
