#include "train/agreement.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "config/config_io.h"

namespace hadal {
namespace {

std::string host_name() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "?";
}

// "HASH PATH on HOST" of the program that runs.
std::string own_program() {
  const MappedFile program("/proc/self/exe");
  return fmt::format("{} {} on {}", xxh3_128_hex(program.text()),
                     std::filesystem::read_symlink("/proc/self/exe").string(), host_name());
}

void check_program(Group& ranks) {
  const auto all = ranks.exchange(own_program());
  const std::string &first = all[0], &own = all[size_t(ranks.rank())];
  const size_t hash = first.find(' ');
  check(own.substr(0, hash) == first.substr(0, hash), ErrorKind::invalid,
        "rank {} is another program than rank 0: {} (XXH3 {}), but rank 0 is {} (XXH3 {}); start the same build on all",
        ranks.rank(), own.substr(hash + 1), own.substr(0, hash), first.substr(hash + 1), first.substr(0, hash));
}

// But for the run directory, whose files tell by themselves whether they are the same.
void check_config(Group& ranks, Config own) {
  own.run.clear();
  const std::string first = ranks.tell(0, ranks.leads() ? config_to_toml(own) : "");
  std::string text;
  for (const std::string& difference : config_differences(config_from_toml(first, "the configuration of rank 0"), own))
    text += (text.empty() ? "" : "; ") + difference;
  check(text.empty(), ErrorKind::invalid,
        "rank {} was started with another configuration than rank 0: {} (rank 0 -> rank {}); give all ranks the same "
        "command",
        ranks.rank(), text, ranks.rank());
}

}  // namespace

void check_same_start(Group& ranks, Isa isa, const Config& config, bool processes) {
  for (const std::string& other : ranks.exchange(isa_name(isa)))  // others have other bits
    check(other == isa_name(isa), ErrorKind::invalid, "one rank computes with {} kernels, another with {}: give --isa",
          isa_name(isa), other);
  if (!processes) return;
  check_program(ranks);
  check_config(ranks, config);
  ranks.barrier();  // nobody goes on where one was refused
}

bool any_rank(Group& ranks, bool own) {
  const auto all = ranks.exchange(own ? "yes" : "");
  return std::find(all.begin(), all.end(), "yes") != all.end();
}

}  // namespace hadal
