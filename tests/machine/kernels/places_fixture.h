// Where tests of kernels and ops run: every instruction set of this machine, and the device that the program is linked
// with, emulated or not (operands lie in host memory and are staged: cuda_staged/staged.h).
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/isa.h"
#include "kernels/dispatch.h"

#if defined(HADAL_CUDA_STAGED)
#include "cuda_staged/staged.h"
#endif

namespace hadal::kernels_test {

// Under the thread sanitizer, where a thread of the device costs a hundred times as much, tests that run many problems
// take only every so many-th of them there.
#if defined(__SANITIZE_THREAD__)
inline constexpr int kDeviceStride = 9;
#else
inline constexpr int kDeviceStride = 1;
#endif

struct Place {
  Isa isa = Isa::reference;
  bool on_device = false;

  std::string name() const {
#if defined(HADAL_CUDA_STAGED)
    if (on_device) return staged::device_title();
#endif
    return isa_name(isa);
  }
  bool has_f64() const { return !on_device && isa == Isa::reference; }
  bool one_way() const { return on_device || isa == Isa::reference; }  // simple, and slow
};

inline std::vector<Place> places() {
  std::vector<Place> all;
  for (const Isa isa : available_isas()) all.push_back({isa});
#if defined(HADAL_CUDA_STAGED)
  if (staged::device_is_there()) all.push_back({Isa::reference, true});
#endif
  return all;
}

// An Exec at a place. On the device another number of threads is another schedule.
class ExecAt {
 public:
  ExecAt(const Place& place, int n_threads)
      : owned_(n_threads, place.isa),
#if defined(HADAL_CUDA_STAGED)
        staged_(place.on_device ? std::make_unique<staged::StagedExec>(uint64_t(n_threads)) : nullptr),
        exec(staged_ ? staged_->exec : owned_.exec) {
  }
#else
        exec(owned_.exec) {
  }
#endif
  kernels::Twin twin() const { return kernels::twin(exec, false); }

 private:
  OwnedExec owned_;
#if defined(HADAL_CUDA_STAGED)
  std::unique_ptr<staged::StagedExec> staged_;
#endif

 public:
  const Exec& exec;
};

}  // namespace hadal::kernels_test
