// Errors of files: what the system said, as an Error that names the path.
#pragma once
#include <filesystem>

namespace hadal {

// Throws for errno: not_found, DiskFull (base/disk_full.h), or io. "cannot write '/run/model': the disk is full".
[[noreturn]] void fail_errno(const char* action, const std::filesystem::path& path);

}  // namespace hadal
