# hadal_mpi.so, opened at run time where ranks are processes; without MPI's headers it is not built, and --transport mpi
# says so.
pkg_check_modules(MPI QUIET IMPORTED_TARGET ompi-c)
if(MPI_FOUND)
  add_library(hadal_mpi MODULE ${room}/mpi/module.cpp)
  target_include_directories(hadal_mpi PRIVATE ${CMAKE_SOURCE_DIR}/src/parallel)
  target_compile_definitions(hadal_mpi PRIVATE OMPI_SKIP_MPICXX=1)  # the C interface alone
  target_link_libraries(hadal_mpi PRIVATE PkgConfig::MPI)
  set_target_properties(hadal_mpi PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
  install(TARGETS hadal_mpi LIBRARY DESTINATION lib/hadal)
endif()

# hadal_nccl.so, opened at run time where ranks speak over NCCL, from the headers of NCCL (2.14 or newer) and of CUDA
# alone; without them it is not built, and --transport nccl says so. Where libnccl.so.2 was beside the header it is
# looked for there.
find_path(HADAL_NCCL_INCLUDE nccl.h PATHS ${CMAKE_SOURCE_DIR}/.nccl/nvidia/nccl/include)
find_path(HADAL_CUDA_INCLUDE cuda_runtime.h
          PATHS /usr/local/cuda/include ${CMAKE_SOURCE_DIR}/.cuda/nvidia/cu13/include)
function(hadal_nccl_module name)  # from these folders of headers
  add_library(${name} MODULE ${CMAKE_SOURCE_DIR}/src/parallel/comm/nccl/module.cpp)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/src/parallel)
  target_include_directories(${name} SYSTEM PRIVATE ${ARGN})
  target_link_libraries(${name} PRIVATE ${CMAKE_DL_LIBS})
  target_link_options(${name} PRIVATE LINKER:--enable-new-dtags)  # LD_LIBRARY_PATH comes first
  set_target_properties(${name} PROPERTIES PREFIX "" OUTPUT_NAME hadal_nccl)
endfunction()
set(nccl_version 0)
if(HADAL_NCCL_INCLUDE AND HADAL_CUDA_INCLUDE)
  file(STRINGS ${HADAL_NCCL_INCLUDE}/nccl.h nccl_version REGEX "define NCCL_VERSION_CODE")
  string(REGEX REPLACE ".* " "" nccl_version "${nccl_version}")  # 23203 of 2.32.3
endif()
if(nccl_version GREATER_EQUAL 21400)
  message(STATUS "ranks over NCCL: ${HADAL_NCCL_INCLUDE}/nccl.h")
  hadal_nccl_module(hadal_nccl ${HADAL_NCCL_INCLUDE} ${HADAL_CUDA_INCLUDE})
  set_target_properties(hadal_nccl PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}
                        BUILD_RPATH ${HADAL_NCCL_INCLUDE}/../lib INSTALL_RPATH ${HADAL_NCCL_INCLUDE}/../lib)
  install(TARGETS hadal_nccl LIBRARY DESTINATION lib/hadal)
endif()

# Sums over ranks take as long as the bytes come from memory, once their loops are vectors.
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  set_source_files_properties(${room}/rank_sum.cpp PROPERTIES COMPILE_OPTIONS -O3 SKIP_PRECOMPILE_HEADERS ON)
endif()
