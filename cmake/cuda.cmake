# CUDA kernels for a GPU (HADAL_CUDA): every .cu is compiled by nvcc for sm_90a through a custom command, because CMake
# 3.25 knows no C++20 for the language CUDA. HADAL_DEVICES is the library that says which devices a program can use:
# hadal_cuda, or hadal_no_cuda (kernels/devices.h). The runtime of CUDA is linked statically, so what is built here
# starts on machines without a GPU too.
#   -gencode  the target with an `a` runs on Hopper alone, and the shorthand -arch refuses its instructions
#   -fmad=false  a fused multiply-add is one where it is written (as -ffp-contract=off on the CPU)
#   FMT_USE_CONSTEXPR  fmt would leave constexpr out for nvcc, while its own format strings need it
add_library(hadal_no_cuda STATIC ${CMAKE_SOURCE_DIR}/src/machine/kernels/no_cuda/devices.cpp)
target_link_libraries(hadal_no_cuda PUBLIC hadal_kernels)
set(HADAL_DEVICES hadal_no_cuda)
if(NOT HADAL_CUDA)
  return()
endif()
set(HADAL_DEVICES hadal_cuda)
include(${CMAKE_CURRENT_LIST_DIR}/nvcc.cmake)
# Where its libraries lie nvcc itself says best: in PATH there may be a link or a script.
execute_process(COMMAND ${HADAL_NVCC} --dryrun -x cu -c /dev/null OUTPUT_VARIABLE dry_run ERROR_VARIABLE dry_run)
string(REGEX MATCH "TOP=([^\n]*)" cuda_root "${dry_run}")
string(STRIP "${CMAKE_MATCH_1}" cuda_root)
find_library(HADAL_CUDART cudart_static REQUIRED
             PATHS ${cuda_root}/lib64 ${cuda_root}/targets/x86_64-linux/lib ${cuda_root}/lib)
file(GLOB cuda_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/machine/kernels/cuda/*.cu
     ${CMAKE_SOURCE_DIR}/src/machine/kernels/cuda/hopper/*.cu)
# Adds to the list `objects` what nvcc makes of a source.
function(hadal_cuda_object source objects)
  get_filename_component(name ${source} NAME_WE)
  set(object ${CMAKE_BINARY_DIR}/cuda/${name}.o)
  add_custom_command(
    OUTPUT ${object} DEPENDS ${source} DEPFILE ${object}.d COMMENT "Building CUDA object ${name}.o"
    COMMAND ${HADAL_NVCC} -std=c++20 -gencode=arch=compute_90a,code=sm_90a -fmad=false -DFMT_USE_CONSTEXPR=1
            -Xcompiler -fPIC -O3 -I ${CMAKE_SOURCE_DIR}/src/machine -I ${CMAKE_SOURCE_DIR}/tests/machine -MD
            -MF ${object}.d -c ${source} -o ${object})
  set(${objects} ${${objects}} ${object} PARENT_SCOPE)
endfunction()
set(cuda_objects "")
foreach(source IN LISTS cuda_sources)
  hadal_cuda_object(${source} cuda_objects)
endforeach()
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/cuda)
add_library(hadal_cuda STATIC ${cuda_objects})
set_target_properties(hadal_cuda PROPERTIES LINKER_LANGUAGE CXX)
target_link_libraries(hadal_cuda PUBLIC hadal_kernels ${HADAL_CUDART} Threads::Threads ${CMAKE_DL_LIBS} rt)
