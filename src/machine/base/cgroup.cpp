// See cgroup.h. Inside a container the group's own path may not exist below the mount: missing files mean no limit
// there, and the walk ends at the mount itself, which then shows the container's limits.
#include "base/cgroup.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace hadal {
namespace {

constexpr double kUnlimited = 4e18;  // v1 writes "no limit" as almost 2^63

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

double number(const std::string& path) { return std::atof(first_line(path).c_str()); }

double keyed(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  std::string name;
  double value = 0;
  while (file >> name >> value) {
    if (name == key) return value;
  }
  return 0;
}

double cpu_v2(const std::string& directory) {
  std::istringstream line(first_line(directory + "/cpu.max"));
  std::string quota;
  double period = 0;
  if (!(line >> quota >> period) || quota == "max" || period <= 0) return 0;
  return std::atof(quota.c_str()) / period;
}

double cpu_v1(const std::string& directory) {
  const double quota = number(directory + "/cpu.cfs_quota_us"), period = number(directory + "/cpu.cfs_period_us");
  return quota > 0 && period > 0 ? quota / period : 0;
}

double bounded(double limit) { return limit > 0 && limit < kUnlimited ? limit : 0; }
double memory_v2(const std::string& d) { return bounded(number(d + "/memory.max")); }  // "max" reads as 0
double memory_v1(const std::string& d) { return bounded(number(d + "/memory.limit_in_bytes")); }

// Never 0 where a limit stands, since 0 means none.
double left(double limit, double used) { return limit > 0 ? std::max(1.0, limit - std::max(0.0, used)) : 0; }

double free_v2(const std::string& d) {
  return left(memory_v2(d), number(d + "/memory.current") - keyed(d + "/memory.stat", "inactive_file"));
}
double free_v1(const std::string& d) {
  return left(memory_v1(d), number(d + "/memory.usage_in_bytes") - keyed(d + "/memory.stat", "total_inactive_file"));
}

double smaller(double a, double b) { return a == 0 ? b : b == 0 ? a : std::min(a, b); }

}  // namespace

std::string cgroup_path(const std::string& controller) {
  std::ifstream file("/proc/self/cgroup");
  std::string line;
  while (std::getline(file, line)) {
    const size_t a = line.find(':'), b = line.find(':', a + 1);
    if (a == std::string::npos || b == std::string::npos) continue;
    const std::string names = "," + line.substr(a + 1, b - a - 1) + ",";
    const bool match = controller.empty() ? names == ",," : names.find("," + controller + ",") != std::string::npos;
    if (match) return line.substr(b + 1) == "/" ? "" : line.substr(b + 1);
  }
  return "";
}

double tightest_limit(const std::string& mount, std::string path,
                      const std::function<double(const std::string&)>& limit) {
  double least = 0;
  for (;;) {
    least = smaller(least, limit(mount + path));
    if (path.empty()) return least;
    const size_t slash = path.find_last_of('/');
    path.resize(slash == std::string::npos ? 0 : slash);
  }
}

double cgroup_cpu_quota() {
  return smaller(tightest_limit("/sys/fs/cgroup", cgroup_path(""), cpu_v2),
                 tightest_limit("/sys/fs/cgroup/cpu", cgroup_path("cpu"), cpu_v1));
}

double cgroup_memory_limit() {
  return smaller(tightest_limit("/sys/fs/cgroup", cgroup_path(""), memory_v2),
                 tightest_limit("/sys/fs/cgroup/memory", cgroup_path("memory"), memory_v1));
}

double cgroup_memory_free() {
  return smaller(tightest_limit("/sys/fs/cgroup", cgroup_path(""), free_v2),
                 tightest_limit("/sys/fs/cgroup/memory", cgroup_path("memory"), free_v1));
}

}  // namespace hadal
