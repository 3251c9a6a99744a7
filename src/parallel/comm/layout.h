// Layout: how many ranks a run has along each axis of its mesh. Today one axis: data (ZeRO-1, optim/sharding.h).
#pragma once
#include <cstdint>
#include <string>

namespace hadal {

struct Layout {
  int64_t dp = 1;  // data ranks: each computes other micro-batches of the global batch, and updates its share
  int64_t ranks() const { return dp; }
  bool operator==(const Layout&) const = default;
};

Layout parse_layout(const std::string& text);   // "dp=2"; throws invalid, naming what is wrong in it
std::string layout_text(const Layout& layout);  // "dp=2"

}  // namespace hadal
