// Files that hold text in a form that is not read here, or none: known by their first bytes, so that a refusal says
// what a file is and what turns it into text.
#pragma once
#include <string>
#include <string_view>

namespace hadal::data {

struct ForeignFormat {
  const char* name = nullptr;    // "a PDF document"
  const char* remedy = nullptr;  // a sentence; % stands for the file
  explicit operator bool() const { return name != nullptr; }
  std::string remedy_for(const std::string& path) const;
};

constexpr size_t kFormatBytes = 4096;  // of a file's beginning that tell all formats apart

// What these first bytes of a file are of, or nothing.
ForeignFormat foreign_format(std::string_view start);

}  // namespace hadal::data
