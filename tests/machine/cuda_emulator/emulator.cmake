# The emulated device: a library of tests that also holds the CUDA kernels, compiled as C++ against the second
# implementation of the thin layer (its folder comes first in the include path). x86-64 only: fibers switch in assembly.
set(cuda_emulator_folder ${CMAKE_CURRENT_SOURCE_DIR}/machine/cuda_emulator)
file(GLOB cuda_emulator_sources CONFIGURE_DEPENDS ${cuda_emulator_folder}/*.cpp
     ${CMAKE_CURRENT_SOURCE_DIR}/machine/cuda_staged/*.cpp)
file(GLOB cuda_kernel_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/machine/kernels/cuda/*.cu
     ${CMAKE_CURRENT_SOURCE_DIR}/machine/cuda_staged/*.cu)
add_library(cuda_emulated STATIC ${cuda_emulator_sources} ${cuda_kernel_sources})
set_source_files_properties(${cuda_kernel_sources} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-x;c++")
target_include_directories(cuda_emulated BEFORE PUBLIC ${cuda_emulator_folder} ${CMAKE_CURRENT_SOURCE_DIR}/machine)
target_link_libraries(cuda_emulated PUBLIC hadal_kernels)
target_compile_definitions(cuda_emulated INTERFACE HADAL_CUDA_EMULATED=1 HADAL_CUDA_STAGED=1)
target_compile_options(cuda_emulated PRIVATE -O2)
if(HADAL_SANITIZE MATCHES "thread")
  # What schedules fibers is no part of the program that is looked at; it tells the sanitizer what orders what.
  set_source_files_properties(${cuda_emulator_folder}/fiber.cpp ${cuda_emulator_folder}/block.cpp
                              ${cuda_emulator_folder}/asynchronous.cpp ${cuda_emulator_folder}/product.cpp PROPERTIES
                              COMPILE_OPTIONS "-fno-sanitize=thread" COMPILE_DEFINITIONS HADAL_EMULATOR_TSAN=1)
elseif(NOT HADAL_SANITIZE)  # whose headers are precompiled with -O1, which GCC 12 crashes over with -O2
  hadal_precompile(cuda_emulated hadal_headers)
endif()
# The binary with the emulated device in the place of a GPU: what verbs do with --device cuda:0.
add_executable(hadal_emulated ${CMAKE_SOURCE_DIR}/src/apps/main.cpp)
target_link_libraries(hadal_emulated PRIVATE hadal_apps cuda_emulated)
