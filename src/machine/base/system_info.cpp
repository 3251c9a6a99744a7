// See system_info.h: /proc/meminfo and /proc/self/status, narrowed by the cgroup.
#include "base/system_info.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "base/cgroup.h"

namespace hadal {
namespace {

uint64_t kib_field(const char* file_name, const std::string& key) {
  std::ifstream file(file_name);
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind(key + ":", 0) == 0) return std::strtoull(line.c_str() + key.size() + 1, nullptr, 10) * 1024;
  }
  return 0;
}

}  // namespace

MemoryInfo memory_info() {
  MemoryInfo info;
  info.total = kib_field("/proc/meminfo", "MemTotal");
  info.available = kib_field("/proc/meminfo", "MemAvailable");
  const double limit = cgroup_memory_limit();
  if (limit > 0 && limit < double(info.total)) {
    info.total = uint64_t(limit);
    info.cgroup_limited = true;
  }
  const double free = cgroup_memory_free();
  if (free > 0) info.available = std::min(info.available, uint64_t(free));
  return info;
}

uint64_t current_rss_bytes() { return kib_field("/proc/self/status", "VmRSS"); }

uint64_t peak_rss_bytes() {
  if (const uint64_t peak = kib_field("/proc/self/status", "VmHWM"); peak > 0) return peak;
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  return uint64_t(usage.ru_maxrss) * 1024;
}

}  // namespace hadal
