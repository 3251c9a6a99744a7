# hadal_room(NAME FLOOR n WING w [HOT] DEPS rooms... LIBS libraries...): one static library per room, from every .cpp
# of its folder: src/WING/NAME, or src/NAME for a room that is a wing of its own. Names of rooms are unique in the
# house, so an #include says "room/file.h" without the wing, and the folder that holds the room is what its users
# search.
# A dependency must be a room that was already declared and stands on a lower floor: anything else stops the configure.
# HOT: the room has loops of its own whose speed is felt, or works between kernels for every token. All others are
# compiled at a lower level in three quarters of the time.
# What CMake cannot see (an #include of a room that is not in DEPS) is caught by tools/check_house.py.
set_property(GLOBAL PROPERTY HADAL_ROOMS "")

function(hadal_room name)
  cmake_parse_arguments(ARG "HOT" "FLOOR;WING" "DEPS;LIBS" ${ARGN})
  foreach(dep IN LISTS ARG_DEPS)
    get_property(dep_floor GLOBAL PROPERTY HADAL_FLOOR_${dep})
    if("${dep_floor}" STREQUAL "")
      message(FATAL_ERROR "room '${name}' depends on '${dep}', which is not declared before it")
    endif()
    if(NOT dep_floor LESS ARG_FLOOR)
      message(FATAL_ERROR "room '${name}' (floor ${ARG_FLOOR}) may not depend on '${dep}' (floor ${dep_floor}): "
                          "only lower floors are allowed")
    endif()
  endforeach()
  set_property(GLOBAL PROPERTY HADAL_FLOOR_${name} ${ARG_FLOOR})
  set_property(GLOBAL APPEND PROPERTY HADAL_ROOMS ${name})
  set(folder ${name})
  if(ARG_WING)
    set(folder ${ARG_WING}/${name})
  endif()
  set_property(GLOBAL PROPERTY HADAL_FOLDER_${name} ${folder})  # tests/ is laid out like src/
  set(room ${CMAKE_SOURCE_DIR}/src/${folder})
  if(NOT IS_DIRECTORY ${room})
    message(FATAL_ERROR "room '${name}' has no folder ${room}")
  endif()

  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${room}/*.cpp)
  if(name STREQUAL "kernels")
    list(FILTER sources EXCLUDE REGEX "/kernels/(cpu|amx|no_cuda)/")
  endif()
  if(name STREQUAL "comm")
    list(FILTER sources EXCLUDE REGEX "/comm/(mpi|nccl)/")
  endif()
  if(name STREQUAL "grammar")
    list(FILTER sources EXCLUDE REGEX "/grammar/(no_)?xgrammar/")
  endif()
  if(name STREQUAL "apps")
    list(FILTER sources EXCLUDE REGEX "/apps/main.cpp$")
  endif()
  add_library(hadal_${name} STATIC ${sources} ${CMAKE_SOURCE_DIR}/cmake/empty.cpp)
  target_include_directories(hadal_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src/${ARG_WING})
  list(TRANSFORM ARG_DEPS PREPEND hadal_)
  target_link_libraries(hadal_${name} PUBLIC ${ARG_DEPS} ${ARG_LIBS})
  hadal_precompile(hadal_${name} hadal_headers)
  if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT ARG_HOT)
    target_compile_options(hadal_${name} PRIVATE -O1)
  endif()
  if(EXISTS ${room}/room.cmake)
    include(${room}/room.cmake)
  endif()
endfunction()

function(hadal_binary)
  if(EXISTS ${CMAKE_SOURCE_DIR}/src/apps/main.cpp)
    add_executable(hadal ${CMAKE_SOURCE_DIR}/src/apps/main.cpp)
    target_link_libraries(hadal PRIVATE hadal_apps ${HADAL_DEVICES})
    set_target_properties(hadal PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
    install(TARGETS hadal RUNTIME DESTINATION bin)
    foreach(module hadal_mpi hadal_nccl)  # which it opens, where they can be built
      if(TARGET ${module})
        add_dependencies(hadal ${module})
      endif()
    endforeach()
  endif()
endfunction()
