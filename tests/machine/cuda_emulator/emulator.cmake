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
# The bench of kernels, to see that it runs (tools/device_check_test.py): nothing here is fast.
add_executable(cuda_kernels_bench_emulated ${CMAKE_SOURCE_DIR}/bench/cuda_kernels_bench.cpp)
target_link_libraries(cuda_kernels_bench_emulated PRIVATE cuda_emulated hadal_ops nlohmann_json::nlohmann_json)
# The laws of models and steps once more, with the emulated device in the place of the CPU (model/test_place.h): all but
# what is FP64's, the CPU's panels', its clock's and its memory's. Under the thread sanitizer they would take hours.
if(HADAL_SANITIZE MATCHES "thread")
  return()
endif()
add_executable(model_emulated_tests network/model/bits_test.cpp network/model/transformer_test.cpp
               training/train/step_test.cpp training/train/step_laws_test.cpp)
target_compile_options(model_emulated_tests PRIVATE ${HADAL_TEST_OPTIONS})
target_include_directories(model_emulated_tests PRIVATE ${folders_of_helpers})
target_link_libraries(model_emulated_tests PRIVATE cuda_emulated hadal_train GTest::gtest_main)
target_compile_definitions(model_emulated_tests PRIVATE HADAL_TESTS_ON_DEVICE=1
                           HADAL_SOURCE_DIR="${CMAKE_SOURCE_DIR}" HADAL_BINARY_DIR="${CMAKE_BINARY_DIR}")
hadal_precompile(model_emulated_tests test_headers)
add_dependencies(fast_tests model_emulated_tests)
gtest_discover_tests(model_emulated_tests TEST_PREFIX "model_emulated." PROPERTIES LABELS fast TIMEOUT 900
                     DISCOVERY_TIMEOUT 60 TEST_FILTER "ModelBits.*:Transformer.*:Step.*-Transformer.Packed*:\
Transformer.TwoPlaces*:Transformer.Times*:Transformer.Estimates*:Transformer.Memory*:Transformer.RecomputationSaves*:\
Step.Accumulation*:Step.MaskedPassages*:Step.MtpTargets*")
