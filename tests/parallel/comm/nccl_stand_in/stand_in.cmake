# What stands in for a card's driver and NCCL (stand_in.h), in a folder that a test puts into LD_LIBRARY_PATH, and the
# module that opens them: the product's where it is built from the true headers, else one from the stand-in's headers,
# which lies where test programs alone look for it.
set(nccl_stand_in ${CMAKE_CURRENT_LIST_DIR})
foreach(library cuda nccl)
  add_library(${library}_stand_in SHARED ${nccl_stand_in}/${library}.cpp)
  target_include_directories(${library}_stand_in PRIVATE ${nccl_stand_in} ${nccl_stand_in}/include)
  target_link_libraries(${library}_stand_in PRIVATE Threads::Threads rt)
  set_target_properties(${library}_stand_in PROPERTIES OUTPUT_NAME ${library}
                        LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/nccl_stand_in)
endforeach()
set_target_properties(cuda_stand_in PROPERTIES SOVERSION 1)
set_target_properties(nccl_stand_in PROPERTIES SOVERSION 2)
target_link_libraries(nccl_stand_in PRIVATE cuda_stand_in)
add_custom_target(nccl_for_tests DEPENDS nccl_stand_in)
if(TARGET hadal_nccl)
  add_dependencies(nccl_for_tests hadal_nccl)
  file(REMOVE ${CMAKE_CURRENT_BINARY_DIR}/hadal_nccl.so)  # of a time without the headers
else()
  hadal_nccl_module(hadal_nccl_of_tests ${nccl_stand_in}/include)
  set_target_properties(hadal_nccl_of_tests PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
  add_dependencies(nccl_for_tests hadal_nccl_of_tests)
endif()
