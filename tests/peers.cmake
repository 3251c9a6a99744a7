# Sources that test programs share beside their *_test.cpp files.
if(TARGET train_peer_tests)
  target_sources(train_peer_tests PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/training/train/oracle_case.cpp
                                          ${CMAKE_CURRENT_SOURCE_DIR}/training/train/oracle_layers.cpp)
endif()
foreach(program apps_peer_tests apps_proof_tests)
  if(TARGET ${program})
    target_sources(${program} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/training/train/oracle_case.cpp)
  endif()
endforeach()
