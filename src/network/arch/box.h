// Box: the part of a parameter that a rank holds.
#pragma once
#include <cstdint>
#include <vector>

namespace hadal {

// Along dimension i of the global shape the indexes begin[i] .. begin[i] + size[i].
struct Box {
  std::vector<int64_t> begin, size;
  static Box whole(const std::vector<int64_t>& shape) { return {std::vector<int64_t>(shape.size(), 0), shape}; }
  int64_t count() const {
    int64_t product = 1;
    for (const int64_t n : size) product *= n;
    return product;
  }
  bool operator==(const Box&) const = default;
};

}  // namespace hadal
