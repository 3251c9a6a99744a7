# Reference kernels (reference/*.cpp) are plain templates on float and double and are built like any other file.
# Every kernel under cpu/ is one source over the thin vector layer, compiled once per instruction set into its own
# namespace (HADAL_ISA names it). Only these objects carry instruction-set flags.
# What plans their work (cpu/*_plan.cpp) is ordinary code, built once.
file(GLOB kernel_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/machine/kernels/cpu/*.cpp)
set(plan_sources ${kernel_sources})
list(FILTER plan_sources INCLUDE REGEX "_plan.cpp$")
list(FILTER kernel_sources EXCLUDE REGEX "_plan.cpp$")
target_sources(hadal_kernels PRIVATE ${plan_sources})
set_target_properties(hadal_kernels PROPERTIES UNITY_BUILD OFF)  # each file has its own table of types to call
set(avx512_flags -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512)
# GCC 12's own intrinsics read a deliberately undefined vector and warn about it.
set(kernel_flags -O3 -fno-math-errno -fno-trapping-math -Wno-uninitialized
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
# One kernel once more, for AVX-512 with more instructions.
function(hadal_isa_twin isa source)
  add_library(hadal_kernels_${isa} OBJECT ${CMAKE_SOURCE_DIR}/src/machine/kernels/${source})
  target_include_directories(hadal_kernels_${isa} PRIVATE ${CMAKE_SOURCE_DIR}/src/machine)
  target_compile_definitions(hadal_kernels_${isa} PRIVATE HADAL_ISA=${isa} HADAL_ISA_${isa}=1)
  target_compile_options(hadal_kernels_${isa} PRIVATE ${kernel_flags} ${avx512_flags} ${ARGN})
  target_sources(hadal_kernels PRIVATE $<TARGET_OBJECTS:hadal_kernels_${isa}>)
endfunction()
function(hadal_isa isa)
  if(NOT kernel_sources)
    return()
  endif()
  add_library(hadal_kernels_${isa} OBJECT ${kernel_sources})
  target_include_directories(hadal_kernels_${isa} PRIVATE ${CMAKE_SOURCE_DIR}/src/machine)
  target_compile_definitions(hadal_kernels_${isa} PRIVATE HADAL_ISA=${isa} HADAL_ISA_${isa}=1)
  target_compile_options(hadal_kernels_${isa} PRIVATE ${kernel_flags} ${ARGN})
  if(HADAL_PRECOMPILED)  # of its own, for flags of its own
    target_precompile_headers(hadal_kernels_${isa} PRIVATE <immintrin.h> <algorithm> <cmath> <cstring> <functional>
                              <string> <vector> <fmt/format.h>)
    target_link_libraries(hadal_kernels_${isa} PRIVATE fmt::fmt)
  endif()
  if(HADAL_SANITIZE MATCHES "address" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC bug 110027: the frames that catch use after return are not aligned for the 64-byte vectors stored there.
    target_compile_options(hadal_kernels_${isa} PRIVATE --param=asan-use-after-return=0)
  endif()
  target_sources(hadal_kernels PRIVATE $<TARGET_OBJECTS:hadal_kernels_${isa}>)
  target_compile_definitions(hadal_kernels PUBLIC HADAL_HAVE_${isa}=1)
  target_compile_definitions(hadal_base PRIVATE HADAL_HAVE_${isa}=1)  # base/isa.cpp says what this build can run
endfunction()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64" AND NOT HADAL_FUZZ)  # fuzzing reads files, it needs no fast kernels
  hadal_isa(avx2 -mavx2 -mfma -mf16c)
  hadal_isa(avx512 ${avx512_flags})
  # Sums of integers are exact, so one more twin of their products, for AVX-512 with VNNI, changes no bit.
  hadal_isa_twin(avx512_vnni cpu/integer_gemm.cpp -mavx512vnni)
  # AMX multiplies bf16; all else is AVX-512's.
  hadal_isa_twin(avx512_amx amx/gemm.cpp -mavx512bf16 -mamx-tile -mamx-bf16)
  hadal_isa(avx512_bf16 ${avx512_flags} -mavx512bf16 -mavx512vnni)
endif()
