// Instruction sets that kernels are compiled for, and which of them this CPU runs.
#pragma once
#include <string>
#include <vector>

namespace hadal {

// Ascending: each machine that runs one runs those before it. avx512_amx is avx512 with products of bf16 on AMX tiles.
enum class Isa { reference, avx2, avx512, avx512_bf16, avx512_amx };
inline constexpr Isa kIsas[] = {Isa::reference, Isa::avx2, Isa::avx512, Isa::avx512_bf16, Isa::avx512_amx};

Isa best_isa();                          // the fastest of those available
bool isa_available(Isa isa);             // compiled in and runnable here
std::vector<Isa> available_isas();       // ascending, always starts with reference
const char* isa_name(Isa isa);           // "reference", "avx2", "avx512", "avx512_bf16", "avx512_amx"
Isa parse_isa(const std::string& name);  // "avx512" means the best AVX-512 variant; throws invalid, names the choices
std::string cpu_description();           // model name and the features that matter, one line

}  // namespace hadal
