// One kernel, one twin per instruction set and device: cpu/*.cpp is compiled once for each instruction set into a
// namespace of that name, reference/*.cpp holds the plain formula, a device's kernels stand in a folder of its own and
// in its table (device_kernels.h). A kernel header declares all of them at once, and with them the function that
// chooses:
//   HADAL_DECLARE_KERNEL(scale, Scale)     in kernels/scale.h, inside namespace hadal::kernels
//   kernels::scale(twin(exec, f64), args)  at the call
// AMX has twins of its own, in amx/, of kernels declared by HADAL_DECLARE_TWINS alone; elsewhere it runs AVX-512's.
// Objects with instruction-set flags must not emit weak symbols of other namespaces (an inline function of std or of a
// shared header): the linker keeps one copy, perhaps the one with AVX-512 in it. tools/check_isa_symbols.sh proves that
// they do not.
#pragma once
#include "base/dtype.h"
#include "base/exec.h"
#include "kernels/device_kernels.h"

namespace hadal::kernels {

// Which twin a call runs.
struct Twin {
  Device device;
  Isa isa = Isa::reference;
  const DeviceKernels* kernels = nullptr;  // of a device other than the CPU, as stream
  DeviceStream stream;
};
// FP64 is the precision of the formulas: no other twin has it.
inline Twin twin(const Exec& exec, bool f64) {
  return {exec.device, f64 ? Isa::reference : exec.isa, exec.kernels, exec.stream};
}

[[noreturn]] void no_kernel(const char* kernel, Device device);  // throws unsupported

// The twin of a device; `entry` points to the kernel's place in the table.
template <class Args>
void run_on_device(const char* kernel, void (*DeviceKernels::*entry)(DeviceStream, const Args&), const Twin& twin,
                   const Args& args) {
  if (twin.kernels == nullptr || twin.kernels->*entry == nullptr) no_kernel(kernel, twin.device);
  (twin.kernels->*entry)(twin.stream, args);
}

}  // namespace hadal::kernels

// The choice itself, in one place for every kernel: by device, then by instruction set.
#define HADAL_DECLARE_KERNEL(name, Args) HADAL_DECLARE_TWINS(name, Args, avx512)
#define HADAL_DECLARE_TWINS(name, Args, with_tiles)                                                         \
  HADAL_DECLARE_HOST_TWINS(name, Args, with_tiles)                                                          \
  inline void name(const Twin& twin, const Args& args) {                                                    \
    if (twin.device.kind != DeviceKind::cpu) return run_on_device(#name, &DeviceKernels::name, twin, args); \
    name(twin.isa, args);                                                                                   \
  }

// A kernel of the host's own work, which no device has: called with an instruction set.
#define HADAL_DECLARE_HOST_KERNEL(name, Args) HADAL_DECLARE_HOST_TWINS(name, Args, avx512)
#if defined(HADAL_HAVE_avx2)
#define HADAL_DECLARE_HOST_TWINS(name, Args, with_tiles)     \
  namespace reference {                                      \
  void name(const Args& args);                               \
  }                                                          \
  namespace avx2 {                                           \
  void name(const Args& args);                               \
  }                                                          \
  namespace avx512 {                                         \
  void name(const Args& args);                               \
  }                                                          \
  namespace avx512_bf16 {                                    \
  void name(const Args& args);                               \
  }                                                          \
  namespace with_tiles {                                     \
  void name(const Args& args);                               \
  }                                                          \
  inline void name(Isa isa, const Args& args) {              \
    switch (isa) {                                           \
      case Isa::reference: return reference::name(args);     \
      case Isa::avx2: return avx2::name(args);               \
      case Isa::avx512: return avx512::name(args);           \
      case Isa::avx512_bf16: return avx512_bf16::name(args); \
      case Isa::avx512_amx: return with_tiles::name(args);   \
    }                                                        \
  }
#else
#define HADAL_DECLARE_HOST_TWINS(name, Args, with_tiles) \
  namespace reference {                                  \
  void name(const Args& args);                           \
  }                                                      \
  inline void name([[maybe_unused]] Isa isa, const Args& args) { reference::name(args); }
#endif

// A kernel that has only its formula so far, which then serves every instruction set.
#define HADAL_DECLARE_FORMULA(name, Args)                                                                   \
  namespace reference {                                                                                     \
  void name(const Args& args);                                                                              \
  }                                                                                                         \
  inline void name(const Twin& twin, const Args& args) {                                                    \
    if (twin.device.kind != DeviceKind::cpu) return run_on_device(#name, &DeviceKernels::name, twin, args); \
    reference::name(args);                                                                                  \
  }
