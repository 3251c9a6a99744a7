// Text for the demonstration: exercises and little stories written by a generator of this project, and where real text
// already lies on a machine after set-up (the Python standard library: code and documentation).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace hadal {

// One JSON line per document ({"text": ...}); the same seed gives the same bytes.
std::string arithmetic_documents(int64_t documents, uint64_t seed);
std::string story_documents(int64_t documents, uint64_t seed);

// Python sources of the newest standard library found, sorted, tests left out, at most max_bytes; empty if there is
// none.
std::vector<std::string> standard_library_files(int64_t max_bytes);

}  // namespace hadal
