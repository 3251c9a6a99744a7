// What the name of a file says about what it holds.
#pragma once
#include <filesystem>
#include <string>

namespace hadal::data {

// The last extension with its dot, in lower case: ".jsonl" of "A.JSONL"; empty where there is none.
inline std::string lower_extension(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension)
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
  return extension;
}

// The same of the name without an ending of compression: ".jsonl" of "a.jsonl.gz".
inline std::string inner_extension(const std::filesystem::path& path) {
  const std::string extension = lower_extension(path);
  return extension == ".gz" || extension == ".zst" ? lower_extension(path.stem()) : extension;
}

}  // namespace hadal::data
