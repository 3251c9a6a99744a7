// Instruction sets that kernels are compiled for, and which of them this CPU runs.
#pragma once
#include <string>
#include <vector>

namespace hadal {

enum class Isa { reference, avx2, avx512, avx512_bf16 };  // ascending: each machine that runs one runs those before it

Isa best_isa();                          // the fastest of those available
bool isa_available(Isa isa);             // compiled in and runnable here
std::vector<Isa> available_isas();       // ascending, always starts with reference
const char* isa_name(Isa isa);           // "reference", "avx2", "avx512", "avx512_bf16"
Isa parse_isa(const std::string& name);  // "avx512" means the best AVX-512 variant; throws invalid, names the choices
std::string cpu_description();           // model name and the features that matter, one line

}  // namespace hadal
