// Patterns of files that keep their meaning wherever the program is started.
#pragma once
#include <string>

namespace hadal {

// A path or pattern of list_files(), from the root of the file system. Brackets and stars in the names of the working
// directory's own path are escaped where the pattern is one; an empty text stays empty.
std::string absolute_pattern(const std::string& pattern);

}  // namespace hadal
