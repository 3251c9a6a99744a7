// Which card is whose: NCCL takes one rank a card, so every rank needs one of its own on the machine that it runs on.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "comm/nccl/module.h"

namespace hadal {

using CardId = std::array<char, 16>;

// What a rank sees: its machine, and the cards there that it may use. As bytes (ByteWriter) that ranks tell each other.
struct RankCards {
  std::string machine;
  std::vector<CardId> cards;
  std::string bytes() const;
  static RankCards of_bytes(const std::string& bytes);
};

// The module with CUDA's driver and NCCL open. Throws unsupported, with what would be right, where one of them is not
// to be had.
const NcclModule& open_nccl(int& n_cards);
RankCards cards_here(const NcclModule& module, int n_cards);

// The number that the card of `rank` has there: each rank in turn takes the first one that it sees and that none before
// it has taken. So it makes no difference whether ranks see all cards of a machine or, under Slurm, one each. Throws
// unsupported, the same on all ranks, where there are too few.
int card_of(int rank, const std::vector<RankCards>& ranks);

// Before so many ranks are started on this machine: throws unsupported where they could not speak over NCCL.
void check_nccl_can_start(int64_t n_ranks);

}  // namespace hadal
