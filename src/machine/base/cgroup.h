// Limits of the control groups (v2 and v1) that this process is in.
#pragma once
#include <functional>
#include <string>

namespace hadal {

// The path of this process's group for a v1 controller, or in the v2 hierarchy for ""; "" when at the root or absent.
std::string cgroup_path(const std::string& controller);

// The smallest positive value that `limit(directory)` gives on the way from mount + path up to mount; 0 = no limit.
double tightest_limit(const std::string& mount, std::string path,
                      const std::function<double(const std::string&)>& limit);

double cgroup_cpu_quota();     // in cores; 0 = none
double cgroup_memory_limit();  // bytes; 0 = none
double cgroup_memory_free();   // bytes left below the limit (page cache counts as free); 0 when there is none

}  // namespace hadal
