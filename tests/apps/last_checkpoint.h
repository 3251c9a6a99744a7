// What a run left: its last checkpoint, file by file.
#pragma once
#include <filesystem>
#include <map>
#include <string>

#include "base/files.h"
#include "base/hash.h"
#include "checkpoint/checkpoint.h"

namespace hadal {

// "step_N/FILE" and the hash of what it holds.
inline std::map<std::string, std::string> last_checkpoint(const std::filesystem::path& run) {
  std::map<std::string, std::string> files;
  const auto found = list_checkpoints(run / "checkpoints");
  if (found.empty()) return files;
  for (const auto& entry : std::filesystem::directory_iterator(found.back()))
    files[found.back().filename().string() + "/" + entry.path().filename().string()] =
        sha256_hex(read_file(entry.path()));
  return files;
}

}  // namespace hadal
