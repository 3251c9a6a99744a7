// Whose card is whose, from what every rank sees of its machine.
#include "comm/nccl_cards.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/expect_error.h"

namespace hadal {
namespace {

// Of each letter one card.
RankCards seen(const std::string& machine, const std::string& cards) {
  RankCards ranks{machine, {}};
  for (const char letter : cards) ranks.cards.emplace_back().fill(letter);
  return ranks;
}

std::string chosen(const std::vector<RankCards>& ranks) {
  std::string numbers;
  for (size_t r = 0; r < ranks.size(); ++r) numbers += std::to_string(card_of(int(r), ranks));
  return numbers;
}

TEST(NcclCards, RanksThatSeeAllCardsOfTheirMachineTakeThemInTurn) {
  const RankCards first = seen("a", "pqr"), second = seen("b", "xyz");
  EXPECT_EQ(chosen({first, first, first}), "012");
  EXPECT_EQ(chosen({first, second, first, second, second}), "00112");
}

TEST(NcclCards, RanksThatAreGivenOneEachTakeIt) {
  EXPECT_EQ(chosen({seen("a", "p"), seen("a", "q"), seen("b", "x")}), "000");
}

TEST(NcclCards, ARankWithoutOneIsNamedOnAllRanks) {
  const RankCards first = seen("a", "p"), second = seen("b", "xy");
  for (const int rank : {0, 3})
    EXPECT_ERROR(card_of(rank, {second, first, second, first}), ErrorKind::unsupported,
                 "rank 3 has no card of its own: it sees 1, and 2 ranks run on a");
  EXPECT_ERROR(card_of(0, {seen("a", "")}), ErrorKind::unsupported, "rank 0 has no card of its own: it sees 0");
}

TEST(NcclCards, TravelAsBytes) {
  const RankCards read = RankCards::of_bytes(seen("machine", "pq").bytes());
  EXPECT_EQ(read.machine, "machine");
  EXPECT_EQ(read.cards, seen("", "pq").cards);
}

}  // namespace
}  // namespace hadal
