# The folder that answers grammar/backend.h: xgrammar/ where ./setup built the library into .xgrammar, else
# no_xgrammar/.
set(HADAL_XGRAMMAR ${CMAKE_SOURCE_DIR}/.xgrammar CACHE PATH "what ./setup built of XGrammar")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${HADAL_XGRAMMAR}/.stamp)
set(backend no_xgrammar)
if(EXISTS ${HADAL_XGRAMMAR}/lib/libxgrammar.a)
  set(backend xgrammar)
  target_include_directories(hadal_grammar SYSTEM PRIVATE ${HADAL_XGRAMMAR}/include)
  target_link_libraries(hadal_grammar PUBLIC ${HADAL_XGRAMMAR}/lib/libxgrammar.a Threads::Threads)
endif()
message(STATUS "constrained answers: ${backend}")
file(GLOB backend_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/serving/grammar/${backend}/*.cpp)
target_sources(hadal_grammar PRIVATE ${backend_sources})
