// Tests as several processes: each starts itself again under mpirun. And what they say to each other.
#pragma once
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "comm/group.h"

namespace hadal::testing {

inline std::string mpirun(int n) {
  return fmt::format("mpirun -n {} --oversubscribe --bind-to none --mca btl_vader_single_copy_mechanism none {} ", n,
                     geteuid() == 0 ? "--allow-run-as-root" : "");
}

inline bool mpirun_starts() {
  return std::filesystem::exists(std::string(HADAL_BINARY_DIR) + "/hadal_mpi.so") &&
         std::system((mpirun(1) + "true > /dev/null 2> /dev/null").c_str()) == 0;
}

struct Started {
  int code = -1;
  std::string text;     // all that the processes said
  std::string command;  // for who wants to try it
};

// This test as n processes, with these variables ("A=1 B=2") in their environment.
inline Started start_again(int n, const std::string& environment = "") {
  const ::testing::TestInfo& test = *::testing::UnitTest::GetInstance()->current_test_info();
  Started started;
  started.command =
      fmt::format("{} timeout 120 {} '{}' --gtest_filter={}.{} 2>&1", environment, mpirun(n),
                  std::filesystem::read_symlink("/proc/self/exe").string(), test.test_suite_name(), test.name());
  FILE* pipe = popen(started.command.c_str(), "r");
  if (pipe == nullptr) return started;
  char part[4096];
  for (size_t read = 0; (read = fread(part, 1, sizeof part, pipe)) > 0;) started.text.append(part, read);
  const int status = pclose(pipe);
  started.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return started;
}

// CPU seconds of this process and all its threads.
inline double process_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) { return double(time.tv_sec) + 1e-6 * double(time.tv_usec); };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

template <class T>
MutableBytes bytes_of(std::vector<T>& values, size_t begin, size_t count) {
  return std::as_writable_bytes(std::span(values).subspan(begin, count));
}

// Everything once, as one text of bits.
inline std::string all_collectives(Group& group) {
  const size_t n = size_t(group.size());
  std::vector<float> values;
  for (size_t i = 0; i < 1000 * n; ++i)
    values.push_back(float(std::ldexp(random_normal(1, uint64_t(group.rank()), i), int(i % 20))));
  std::vector<Share> shares;
  for (size_t r = 0; r < n; ++r) shares.push_back({bytes_of(values, 1000 * r, 1000)});
  group.start_reduce_scatter(DType::f32, shares).wait();
  group.start_all_gather(DType::f32, shares).wait();
  group.start_all_reduce(DType::f32, {bytes_of(values, 3, 500)}).wait();
  std::string text(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  for (const std::string& part : group.exchange(std::string(size_t(group.rank()) * 3, 'r'))) text += part;
  text += group.tell(int(n) - 1, fmt::format("rank {}", group.rank()));
  std::vector<double> passed = {double(group.rank())}, got = {-1};
  group.send((group.rank() + 1) % int(n), DType::f64, {bytes_of(passed, 0, 1)});
  group.start_receive((group.rank() + int(n) - 1) % int(n), DType::f64, {bytes_of(got, 0, 1)}).wait();
  return text + fmt::format(" got {}", got[0] == (group.rank() + int(n) - 1) % int(n));
}

}  // namespace hadal::testing
