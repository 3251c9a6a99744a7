#include "comm/nccl_cards.h"

#include <unistd.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "comm/byte_text.h"
#include "comm/open_module.h"

namespace hadal {
namespace {

constexpr const char* kInstead = "--transport mpi needs none of it";

void check_done(const char* error) {
  check(error == nullptr, ErrorKind::unsupported, "--transport nccl: {}; {}", error ? error : "", kInstead);
}

}  // namespace

std::string RankCards::bytes() const {
  ByteWriter writer;
  writer(machine);
  writer(cards);
  return writer.text;
}

RankCards RankCards::of_bytes(const std::string& bytes) {
  RankCards read;
  ByteReader reader(bytes);
  reader(read.machine);
  reader(read.cards);
  return read;
}

const NcclModule& open_nccl(int& n_cards) {
  const NcclModule& module = *reinterpret_cast<NcclModuleFunction>(open_module(
      {.file = "hadal_nccl.so",
       .symbol = kNcclModuleSymbol,
       .library = "NCCL",
       .when_shut = kInstead,
       .when_built = "bring its header with ./setup --nccl and build again; --transport mpi needs none"}))();
  check_done(module.open(&n_cards));
  return module;
}

RankCards cards_here(const NcclModule& module, int n_cards) {
  RankCards here;
  char machine[256] = "";
  gethostname(machine, sizeof machine - 1);
  here.machine = machine;
  here.cards.resize(size_t(n_cards));
  for (int card = 0; card < n_cards; ++card) check_done(module.identify(card, here.cards[size_t(card)].data()));
  return here;
}

int card_of(int rank, const std::vector<RankCards>& ranks) {
  std::set<CardId> taken;
  int card = -1;
  for (size_t r = 0; r < ranks.size(); ++r) {
    const std::vector<CardId>& seen = ranks[r].cards;
    const auto first = std::find_if(seen.begin(), seen.end(), [&](const CardId& id) { return !taken.contains(id); });
    const auto neighbours = std::count_if(ranks.begin(), ranks.end(),
                                          [&](const RankCards& other) { return other.machine == ranks[r].machine; });
    check(first != seen.end(), ErrorKind::unsupported,
          "--transport nccl: rank {} has no card of its own: it sees {}, and {} ranks run on {}; NCCL takes one rank a "
          "card: start fewer there, or give --transport mpi",
          r, seen.size(), neighbours, ranks[r].machine);
    taken.insert(*first);
    if (int(r) == rank) card = int(first - seen.begin());
  }
  return card;
}

void check_nccl_can_start(int64_t n_ranks) {
  int n_cards = 0;
  open_nccl(n_cards);
  check(n_cards >= n_ranks, ErrorKind::unsupported,
        "--transport nccl: {} ranks need a card each, and this machine has {}; start {}give --transport mpi", n_ranks,
        n_cards, n_cards > 0 ? fmt::format("{}, or ", n_cards) : "them where there are cards, or ");
}

}  // namespace hadal
