#include "data/packing.h"

#include <algorithm>
#include <numeric>

#include "data/data_testing.h"

namespace hadal::data {
namespace {

using Bins = std::vector<std::vector<int64_t>>;

std::vector<PackItem> items_of(const std::vector<int64_t>& lengths) {
  std::vector<PackItem> items;
  for (int64_t length : lengths) items.push_back({length, false});
  return items;
}

// Longest first, each into the fullest (or, as a fault, the first) bin with room; quadratic and plain.
Bins plain_packing(const std::vector<PackItem>& items, int64_t capacity, bool best_fit) {
  std::vector<int64_t> order(items.size());
  std::iota(order.begin(), order.end(), int64_t(0));
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return items[a].length > items[b].length; });
  Bins bins;
  std::vector<int64_t> room;
  for (int64_t item : order) {
    int64_t best = -1;
    for (size_t b = 0; b < bins.size(); ++b) {
      if (room[b] < items[item].length) continue;
      if (best < 0 || (best_fit && room[b] < room[size_t(best)])) best = int64_t(b);
    }
    if (best < 0) best = int64_t(bins.size()), bins.emplace_back(), room.push_back(capacity);
    bins[size_t(best)].push_back(item);
    room[size_t(best)] -= items[item].length;
  }
  return bins;
}

std::vector<int64_t> fill_levels(const Bins& bins, const std::vector<PackItem>& items) {
  std::vector<int64_t> levels;
  for (const auto& bin : bins) {
    int64_t sum = 0;
    for (int64_t item : bin) sum += items[size_t(item)].length;
    levels.push_back(sum);
  }
  std::sort(levels.begin(), levels.end());
  return levels;
}

TEST(Packing, PutsTheLongestFirstIntoTheFullestBinWithRoom) {
  // 6 | 5 | 4, then 3 into the bin of 5 (room 3), then 2 into the bin of 6 (room 2).
  EXPECT_EQ(pack_best_fit(items_of({5, 3, 4, 2, 6}), 8), (Bins{{4, 3}, {0, 1}, {2}}));
}

TEST(Packing, FillsExactlyWhereFirstFitWouldNot) {
  // Room after 7, 6: 3, 4. Best fit puts the two of length 3 and 4 so that both bins are full; 4 goes first, only the
  // second has room.
  EXPECT_EQ(pack_best_fit(items_of({7, 6, 4, 3}), 10), (Bins{{0, 3}, {1, 2}}));
  // 5 (room 5), 6 (room 4): sorted 6, 5; then 4 goes to the fuller bin of 6, and 5's bin keeps room for the last 5.
  EXPECT_EQ(pack_best_fit(items_of({5, 6, 4, 5}), 10), (Bins{{1, 2}, {0, 3}}));
}

TEST(Packing, GivesAFullBinToAnItemOfCapacity) {
  EXPECT_EQ(pack_best_fit(items_of({4, 4, 1}), 4), (Bins{{0}, {1}, {2}}));
}

TEST(Packing, OfNothingIsNothing) { EXPECT_TRUE(pack_best_fit({}, 7).empty()); }

TEST(Packing, EqualsThePlainAlgorithmOnRandomLengths) {
  int64_t caught = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    RandomStream random{seed, 5};
    const int64_t capacity = 5 + int64_t(random.below(60));
    std::vector<PackItem> items(size_t(random.below(200)));
    for (auto& item : items) item.length = 1 + int64_t(random.below(uint64_t(capacity)));
    const auto levels = fill_levels(pack_best_fit(items, capacity), items);
    EXPECT_EQ(levels, fill_levels(plain_packing(items, capacity, true), items));
    caught += levels != fill_levels(plain_packing(items, capacity, false), items);
  }
  EXPECT_GT(caught, 10) << "negative control: first fit must be told apart from best fit";
}

TEST(Packing, PlacesEveryItemOnceAndOverfillsNothing) {
  RandomStream random{3, 8};
  std::vector<PackItem> items(500);
  for (auto& item : items) item = {1 + int64_t(random.below(40)), random.below(4) == 0};
  const Bins bins = pack_best_fit(items, 64);
  std::vector<int> seen(items.size());
  for (const auto& bin : bins) {
    int64_t sum = 0, alone = 0;
    for (int64_t item : bin)
      ++seen[size_t(item)], sum += items[size_t(item)].length, alone += items[size_t(item)].alone;
    EXPECT_LE(sum, 64);
    EXPECT_LE(alone, 1) << "two parts that do not end share a bin";
  }
  EXPECT_EQ(seen, std::vector<int>(items.size(), 1));
}

TEST(Packing, RefusesAnItemLongerThanABin) {
  expect_error(ErrorKind::internal, {"9"}, [] { pack_best_fit(items_of({9}), 8); });
}

}  // namespace
}  // namespace hadal::data
