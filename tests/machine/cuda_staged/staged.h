// The device's kernels behind the CPU's door: an Exec whose tensors lie in host memory and whose kernels run on the
// device. Every operand of a call is copied there (memory that operands share, once), the twin runs, what it writes is
// copied back. So a test of an op runs on the device as it stands, whatever its views. The device is the emulated one,
// or a GPU where the build has its kernels (HADAL_CUDA): whichever implementation of the layer is linked.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/exec.h"

namespace hadal::staged {

// Of the device that is linked.
bool device_is_there();
const char* device_title();          // for messages
void begin_schedule(uint64_t seed);  // of everything from now on, where schedules can be chosen
// How often the host has stood still for the device so far, whoever made it; none where nobody counts.
std::optional<int64_t> synchronisations();

// seed: of its schedules.
class StagedExec {
 public:
  explicit StagedExec(uint64_t seed);
  ~StagedExec();
  StagedExec(const StagedExec&) = delete;
  StagedExec& operator=(const StagedExec&) = delete;

  Exec exec;
  // Of everything that kernels have written so far, by name: the bits of a device, in few words. Memory begins as
  // zeros, so that gaps between rows are the same each time.
  const std::map<std::string, uint64_t>& bits() const { return bits_; }

 private:
  OwnedExec host_;
  std::map<std::string, uint64_t> bits_;
};

}  // namespace hadal::staged
