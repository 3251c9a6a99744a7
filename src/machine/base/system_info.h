// What the machine, or the cgroup we run in, grants.
#pragma once
#include <cstdint>

namespace hadal {

struct MemoryInfo {
  uint64_t total = 0;      // bytes of the machine or of the tightest cgroup limit
  uint64_t available = 0;  // what could still be taken without swapping
  bool cgroup_limited = false;
};

MemoryInfo memory_info();
uint64_t current_rss_bytes();  // resident memory of this process now
uint64_t peak_rss_bytes();     // its highest so far

}  // namespace hadal
