# The page and the API's description travel inside the binary.
file(READ ${CMAKE_SOURCE_DIR}/src/serving/server/page.html HADAL_PAGE)
file(READ ${CMAKE_SOURCE_DIR}/src/serving/server/openapi.json HADAL_OPENAPI)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/serving/server/page.html
             ${CMAKE_SOURCE_DIR}/src/serving/server/openapi.json)
configure_file(${CMAKE_SOURCE_DIR}/src/serving/server/embedded.h.in ${CMAKE_BINARY_DIR}/generated/server/embedded.h
               @ONLY)
target_include_directories(hadal_server PRIVATE ${CMAKE_BINARY_DIR}/generated)
