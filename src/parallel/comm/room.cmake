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

# Sums over ranks take as long as the bytes come from memory, once their loops are vectors.
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  set_source_files_properties(${room}/rank_sum.cpp PROPERTIES COMPILE_OPTIONS -O3 SKIP_PRECOMPILE_HEADERS ON)
endif()
