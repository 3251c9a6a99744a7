// See packing.h.
#include "data/packing.h"

#include <deque>

#include "base/error.h"

namespace hadal::data {
namespace {

// Counts per value 0..n-1, and the smallest value >= x that has any: a binary tree over a power of two of leaves.
class RoomTree {
 public:
  explicit RoomTree(int64_t n) {
    while (leaves_ < n) leaves_ *= 2;
    counts_.assign(size_t(2 * leaves_), 0);
  }
  void add(int64_t value, int64_t amount) {
    for (int64_t node = leaves_ + value; node > 0; node /= 2) counts_[size_t(node)] += amount;
  }
  int64_t first_from(int64_t value) const {  // -1: none
    int64_t node = leaves_ + value;
    if (counts_[size_t(node)] > 0) return value;
    for (;; node /= 2) {  // up, until a right sibling holds something
      if (node == 1) return -1;
      if (node % 2 == 0 && counts_[size_t(node + 1)] > 0) break;
    }
    for (++node; node < leaves_;) node = counts_[size_t(2 * node)] > 0 ? 2 * node : 2 * node + 1;
    return node - leaves_;
  }

 private:
  int64_t leaves_ = 1;
  std::vector<int64_t> counts_;
};

}  // namespace

// Longest first, each into the fullest bin that still holds it, else into a new one (§2.2): what fits a sequence is
// never cut, and little padding is left. Items that may not meet one another open their bins first, and others fill
// them up.
std::vector<std::vector<int64_t>> pack_best_fit(const std::vector<PackItem>& items, int64_t capacity) {
  std::vector<std::vector<int64_t>> by_length(static_cast<size_t>(capacity + 1));
  for (size_t i = 0; i < items.size(); ++i) {
    check(items[i].length >= 1 && items[i].length <= capacity, ErrorKind::internal, "an item of {} in bins of {}",
          items[i].length, capacity);
    by_length[size_t(items[i].length)].push_back(int64_t(i));
  }
  std::vector<std::vector<int64_t>> bins;
  RoomTree rooms(capacity + 1);
  std::vector<std::deque<int64_t>> bins_with_room(static_cast<size_t>(capacity + 1));
  auto place = [&](int64_t item, int64_t bin, int64_t room) {
    bins[size_t(bin)].push_back(item);
    const int64_t left = room - items[size_t(item)].length;
    bins_with_room[size_t(left)].push_back(bin);
    rooms.add(left, 1);
  };
  auto open = [&](int64_t item) {
    bins.emplace_back();
    place(item, int64_t(bins.size()) - 1, capacity);
  };
  for (int64_t length = capacity; length >= 1; --length) {
    for (int64_t item : by_length[size_t(length)])
      if (items[size_t(item)].alone) open(item);
  }
  for (int64_t length = capacity; length >= 1; --length) {
    for (int64_t item : by_length[size_t(length)]) {
      if (items[size_t(item)].alone) continue;
      const int64_t room = rooms.first_from(length);
      if (room < 0) {
        open(item);
        continue;
      }
      const int64_t bin = bins_with_room[size_t(room)].front();
      bins_with_room[size_t(room)].pop_front();
      rooms.add(room, -1);
      place(item, bin, room);
    }
  }
  return bins;
}

}  // namespace hadal::data
