// One kernel, one implementation per instruction set: cpu/*.cpp is compiled once for each of them into a namespace of
// that name, reference/*.cpp holds the plain formula. A kernel header declares all of them at once and ops call the one
// that exec.isa names:
//   HADAL_DECLARE_KERNEL(void scale(const Scale& args))   in kernels/scale.h, inside namespace hadal::kernels
//   HADAL_DISPATCH(exec.isa, scale(args))                 at the call, inside that namespace or with a using
// Objects with instruction-set flags must not emit weak symbols of other namespaces (an inline function of std or of a
// shared header): the linker keeps one copy, perhaps the one with AVX-512 in it. tools/check_isa_symbols.sh proves that
// they do not.
#pragma once
#include "base/isa.h"

#if defined(HADAL_HAVE_avx2)
#define HADAL_DECLARE_KERNEL(...) \
  namespace avx2 {                \
  __VA_ARGS__;                    \
  }                               \
  namespace avx512 {              \
  __VA_ARGS__;                    \
  }                               \
  namespace avx512_bf16 {         \
  __VA_ARGS__;                    \
  }                               \
  namespace reference {           \
  __VA_ARGS__;                    \
  }
#define HADAL_DISPATCH(isa, ...)                                 \
  ((isa) == ::hadal::Isa::avx512_bf16 ? avx512_bf16::__VA_ARGS__ \
   : (isa) == ::hadal::Isa::avx512    ? avx512::__VA_ARGS__      \
   : (isa) == ::hadal::Isa::avx2      ? avx2::__VA_ARGS__        \
                                      : reference::__VA_ARGS__)
#else
#define HADAL_DECLARE_KERNEL(...) \
  namespace reference {           \
  __VA_ARGS__;                    \
  }
#define HADAL_DISPATCH(isa, ...) (reference::__VA_ARGS__)
#endif
