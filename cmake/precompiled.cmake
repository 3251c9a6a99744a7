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
# compiles its files four at a time, which halves the rest: so what files of one room keep to themselves has names of
# its own within the room.
function(hadal_precompile target headers)
  if(HADAL_PRECOMPILED)
    target_precompile_headers(${target} REUSE_FROM ${headers})
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 4)
  endif()
endfunction()
