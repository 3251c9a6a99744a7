// One kernel, one twin per instruction set and device: cpu/*.cpp is compiled once for each instruction set into a
// namespace of that name, reference/*.cpp holds the plain formula, a device's kernels will stand in a folder of its
// own. A kernel header declares all of them at once, and with them the function that chooses:
//   HADAL_DECLARE_KERNEL(scale, Scale)     in kernels/scale.h, inside namespace hadal::kernels
//   kernels::scale(twin(exec, f64), args)  at the call
// Objects with instruction-set flags must not emit weak symbols of other namespaces (an inline function of std or of a
// shared header): the linker keeps one copy, perhaps the one with AVX-512 in it. tools/check_isa_symbols.sh proves that
// they do not.
#pragma once
#include "base/dtype.h"
#include "base/exec.h"

namespace hadal::kernels {

// Which twin a call runs.
struct Twin {
  Device device;
  Isa isa = Isa::reference;
};
// FP64 is the precision of the formulas: no other twin has it.
inline Twin twin(const Exec& exec, bool f64) { return {exec.device, f64 ? Isa::reference : exec.isa}; }

[[noreturn]] void no_kernel(const char* kernel, Device device);  // throws unsupported

}  // namespace hadal::kernels

// The choice itself, in one place for every kernel: by device, then by instruction set.
#if defined(HADAL_HAVE_avx2)
#define HADAL_DECLARE_KERNEL(name, Args)                                    \
  namespace reference {                                                     \
  void name(const Args& args);                                              \
  }                                                                         \
  namespace avx2 {                                                          \
  void name(const Args& args);                                              \
  }                                                                         \
  namespace avx512 {                                                        \
  void name(const Args& args);                                              \
  }                                                                         \
  namespace avx512_bf16 {                                                   \
  void name(const Args& args);                                              \
  }                                                                         \
  inline void name(const Twin& twin, const Args& args) {                    \
    if (twin.device.kind != DeviceKind::cpu) no_kernel(#name, twin.device); \
    switch (twin.isa) {                                                     \
      case Isa::reference: return reference::name(args);                    \
      case Isa::avx2: return avx2::name(args);                              \
      case Isa::avx512: return avx512::name(args);                          \
      case Isa::avx512_bf16: return avx512_bf16::name(args);                \
    }                                                                       \
  }
#else
#define HADAL_DECLARE_KERNEL(name, Args) HADAL_DECLARE_FORMULA(name, Args)
#endif

// A kernel that has only its formula so far, which then serves every instruction set.
#define HADAL_DECLARE_FORMULA(name, Args)                                   \
  namespace reference {                                                     \
  void name(const Args& args);                                              \
  }                                                                         \
  inline void name(const Twin& twin, const Args& args) {                    \
    if (twin.device.kind != DeviceKind::cpu) no_kernel(#name, twin.device); \
    reference::name(args);                                                  \
  }
