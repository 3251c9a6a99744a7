# Compiler flags: one place. Kernel sources get instruction-set flags in src/machine/kernels/room.cmake, nothing else
# does: a binary built here must start on any x86-64 machine and choose its kernels at run time.
add_compile_options(-Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers)
# Floating point means what it says: no fused multiply-add unless written, so that reference kernels are reproducible.
add_compile_options(-ffp-contract=off)
if(HADAL_SANITIZE)
  # A report ends the program, so that no test passes over one. -O1 -g1: line numbers at a bearable speed.
  add_compile_options(-fsanitize=${HADAL_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g1 -O1)
  add_link_options(-fsanitize=${HADAL_SANITIZE})
endif()
find_program(HADAL_CCACHE ccache)
if(HADAL_CCACHE)
  # The sloppiness that ccache asks for with precompiled headers.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${HADAL_CCACHE})
endif()
