# Sources that test programs share beside their *_test.cpp files.
if(TARGET train_peer_tests)
  add_library(oracle STATIC ${CMAKE_CURRENT_SOURCE_DIR}/training/train/oracle_case.cpp
                            ${CMAKE_CURRENT_SOURCE_DIR}/training/train/oracle_layers.cpp)
  target_include_directories(oracle PRIVATE ${folders_of_helpers})
  target_link_libraries(oracle PUBLIC hadal_train GTest::gtest)
  target_compile_definitions(oracle PRIVATE HADAL_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                             HADAL_BINARY_DIR="${CMAKE_BINARY_DIR}")
  foreach(program train_peer_tests apps_peer_tests apps_proof_tests)
    target_link_libraries(${program} PRIVATE oracle)
  endforeach()
endif()
