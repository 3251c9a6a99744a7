// Which instruction sets this build has kernels for and this CPU and its operating system run. The compiler's support
// routine reads cpuid and xgetbv, so a kernel that does not save the wide registers counts as not having them.
#include "base/isa.h"

#include <fstream>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

#include "base/error.h"

namespace hadal {
namespace {

#if defined(__x86_64__)
// AMX-BF16, which Linux lends to a process that asks (its registers are large).
bool has_tiles() {
  constexpr unsigned kTile = 1u << 24, kBf16 = 1u << 22;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & kTile) == 0 || (d & kBf16) == 0) return false;
#if defined(__linux__)
  constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  static const bool granted = syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
  return granted;
#else
  return false;
#endif
}

bool cpu_runs(Isa isa) {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  switch (isa) {
    case Isa::reference: return true;
    case Isa::avx2: return avx2;
    case Isa::avx512: return avx512;
    case Isa::avx512_bf16:
      return avx512 && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni");
    case Isa::avx512_amx: return cpu_runs(Isa::avx512_bf16) && has_tiles();
  }
  return false;
}

std::string cpu_features() {
  std::string text;
  auto add = [&](bool has, const char* name) {
    if (has) text += std::string(text.empty() ? "" : " ") + name;
  };
  add(__builtin_cpu_supports("avx2"), "avx2");
  add(__builtin_cpu_supports("fma"), "fma");
  add(__builtin_cpu_supports("avx512f"), "avx512f");
  add(__builtin_cpu_supports("avx512bw"), "avx512bw");
  add(__builtin_cpu_supports("avx512vbmi"), "avx512vbmi");
  add(__builtin_cpu_supports("avx512vnni"), "avx512vnni");
  add(__builtin_cpu_supports("avx512bf16"), "avx512bf16");
  add(has_tiles(), "amx");
  return text;
}
// Products of bf16 pairs do twice the work of an FP32 multiply-add at the same rate on AMD's cores, and at a quarter of
// it on Intel's (measured: 148 against 304 GFLOP/s on a Sapphire Rapids, 1145 against 573 on a Zen 5).
bool has_slow_pairs() { return __builtin_cpu_is("intel"); }
#else
bool cpu_runs(Isa isa) { return isa == Isa::reference; }
bool has_slow_pairs() { return false; }
std::string cpu_features() { return "no vector kernels for this architecture"; }
#endif

// Vector kernels are compiled for every instruction set or for none (HADAL_FUZZ, other architectures).
#if defined(HADAL_HAVE_avx2)
constexpr bool kVectorKernels = true;
#else
constexpr bool kVectorKernels = false;
#endif

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind("model name", 0) != 0) continue;
    const size_t colon = line.find(':');
    if (colon != std::string::npos && colon + 2 <= line.size()) return line.substr(colon + 2);
  }
  return "unknown CPU";
}

}  // namespace

bool isa_available(Isa isa) { return isa == Isa::reference || (kVectorKernels && cpu_runs(isa)); }

std::vector<Isa> available_isas() {
  std::vector<Isa> found;
  for (Isa isa : kIsas) {
    if (isa_available(isa)) found.push_back(isa);
  }
  return found;
}

Isa best_isa() {
  const Isa last = available_isas().back();
  return last == Isa::avx512_bf16 && has_slow_pairs() ? Isa::avx512 : last;
}

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::reference: return "reference";
    case Isa::avx2: return "avx2";
    case Isa::avx512: return "avx512";
    case Isa::avx512_bf16: return "avx512_bf16";
    case Isa::avx512_amx: return "avx512_amx";
  }
  return "unknown";
}

Isa parse_isa(const std::string& name) {
  Isa isa = Isa::reference;
  if (name == "reference") {
    isa = Isa::reference;
  } else if (name == "avx2") {
    isa = Isa::avx2;
  } else if (name == "avx512") {
    isa = best_isa() > Isa::avx512 ? best_isa() : Isa::avx512;
  } else if (name == "avx512_bf16") {
    isa = Isa::avx512_bf16;
  } else if (name == "avx512_amx") {
    isa = Isa::avx512_amx;
  } else if (name == "best") {
    isa = best_isa();
  } else {
    fail(ErrorKind::invalid, "unknown instruction set '{}'; choose reference, avx2, avx512 or best", name);
  }
  check(isa_available(isa), ErrorKind::invalid, "{} {}; the best that runs here is {}",
        kVectorKernels ? "this CPU does not run" : "this build has no kernels for", name, isa_name(best_isa()));
  return isa;
}

std::string cpu_description() { return cpu_model() + " (" + cpu_features() + ")"; }

}  // namespace hadal
