# The page and the API's description travel inside the binary.
file(READ ${CMAKE_SOURCE_DIR}/src/serving/server/page.html HADAL_PAGE)
file(READ ${CMAKE_SOURCE_DIR}/src/serving/server/openapi.json HADAL_OPENAPI)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/serving/server/page.html
             ${CMAKE_SOURCE_DIR}/src/serving/server/openapi.json)
configure_file(${CMAKE_SOURCE_DIR}/src/serving/server/embedded.h.in ${CMAKE_BINARY_DIR}/generated/server/embedded.h
               @ONLY)
target_include_directories(hadal_server PRIVATE ${CMAKE_BINARY_DIR}/generated)
if(HADAL_SANITIZE MATCHES "undefined" AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # Clang 14 cannot put what checks calls through pointers in front of a coroutine ("difference across sections").
  set_source_files_properties(${CMAKE_SOURCE_DIR}/src/serving/server/http_server.cpp TARGET_DIRECTORY hadal_server
                              PROPERTIES COMPILE_OPTIONS -fno-sanitize=function)
endif()
