# The standard library and fmt, parsed once for all rooms (and with GoogleTest once for all test programs) instead of
# once per file, which was more than half of a build. Every file still includes what it uses: builds without this
# (HADAL_PRECOMPILED=OFF; `make fuzz`) must work.
option(HADAL_PRECOMPILED "parse the headers of the standard library once" ON)
set(HADAL_PRECOMPILED_HEADERS <algorithm> <cmath> <cstdint> <cstring> <filesystem> <fstream> <functional> <map>
    <memory> <optional> <set> <span> <string> <string_view> <thread> <unordered_map> <vector> <fmt/format.h>)
if(HADAL_PRECOMPILED AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options(-fpch-preprocess)  # lets ccache see what was precompiled
  if(CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # GCC 12 finds faults in its own std::string (bug 105329), which outside of system headers it does not hide.
    add_compile_options(-Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread -Wno-restrict)
  endif()
endif()

# Programs of tests are compiled with other flags than libraries, so each kind has its own. They are targets apart,
# because what a file defines must not be less than what its precompiled headers saw.
if(HADAL_PRECOMPILED)
  add_library(hadal_headers STATIC ${CMAKE_SOURCE_DIR}/cmake/empty.cpp)
  target_link_libraries(hadal_headers PRIVATE fmt::fmt)
  target_precompile_headers(hadal_headers PRIVATE ${HADAL_PRECOMPILED_HEADERS})
endif()

# Lets a target use the precompiled headers of `headers` (hadal_headers, or test_headers of tests/CMakeLists.txt), and
# compiles its files in groups, which halves the rest: so what files of a group keep to themselves has names of its own.
# A file's group follows from its name, so that a new file moves no other one.
function(hadal_precompile target headers)
  if(NOT HADAL_PRECOMPILED)
    return()
  endif()
  target_precompile_headers(${target} REUSE_FROM ${headers})
  get_target_property(sources ${target} SOURCES)
  list(FILTER sources INCLUDE REGEX "\\.cpp$")
  foreach(source IN LISTS sources)
    get_filename_component(name ${source} NAME)
    string(MD5 hash ${name})
    string(SUBSTRING ${hash} 0 6 hash)
    math(EXPR group "0x${hash} % 5")
    set_property(SOURCE ${source} PROPERTY UNITY_GROUP group_${group})
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
  # In a group no file is the main one, where GCC takes a class over unnamed types for a header's.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE -Wno-subobject-linkage)
  endif()
endfunction()
