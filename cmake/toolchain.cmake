# Compiler flags: one place. Kernel sources get their instruction-set flags in src/kernels/isa.cmake, nothing else does:
# a binary built here must start on any x86-64 machine and choose its kernels at run time.
add_compile_options(-Wall -Wextra -Wno-unused-parameter)
# Floating point means what it says: no fused multiply-add unless written, so that reference kernels are reproducible.
add_compile_options(-ffp-contract=off)
if(HADAL_SANITIZE)
  add_compile_options(-fsanitize=${HADAL_SANITIZE} -fno-omit-frame-pointer -g -O1)
  add_link_options(-fsanitize=${HADAL_SANITIZE})
endif()
find_program(HADAL_CCACHE ccache)
if(HADAL_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${HADAL_CCACHE})
endif()
