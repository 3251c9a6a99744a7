// list_files: a pattern is matched component by component with fnmatch; ** stands for any number of directories.
#include "base/glob.h"

#include <fnmatch.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/files.h"

namespace hadal {
namespace fs = std::filesystem;
namespace {

bool is_pattern(const std::string& text) { return text.find_first_of("*?[") != std::string::npos; }
bool hidden(const fs::path& path) { return path.filename().string().rfind('.', 0) == 0; }

std::vector<fs::path> children(const fs::path& directory) {
  std::error_code code;
  std::vector<fs::path> found;
  fs::directory_iterator it(directory.empty() ? fs::path(".") : directory,
                            fs::directory_options::skip_permission_denied, code);
  if (code) return found;
  for (const auto& entry : it) {
    found.push_back(directory.empty() ? entry.path().filename() : directory / entry.path().filename());
  }
  std::sort(found.begin(), found.end());
  return found;
}

void all_below(const fs::path& directory, std::set<std::string>& out) {
  for (const fs::path& child : children(directory)) {
    std::error_code code;
    if (hidden(child)) continue;
    if (fs::is_regular_file(child, code)) out.insert(child.string());
    if (fs::is_directory(child, code) && !fs::is_symlink(child, code)) all_below(child, out);
  }
}

struct Walk {
  std::vector<std::string> parts;
  std::set<std::string> out;

  void visit(const fs::path& at, size_t part) {
    std::error_code code;
    if (part == parts.size()) {
      if (fs::is_regular_file(at, code)) out.insert(at.string());
      return;
    }
    if (parts[part] == "**") {
      visit(at, part + 1);
      for (const fs::path& child : children(at)) {
        if (!hidden(child) && fs::is_directory(child, code) && !fs::is_symlink(child, code)) visit(child, part);
      }
      return;
    }
    if (!is_pattern(parts[part])) return visit(at / parts[part], part + 1);
    for (const fs::path& child : children(at)) {
      if (fnmatch(parts[part].c_str(), child.filename().c_str(), FNM_PERIOD) == 0) visit(child, part + 1);
    }
  }
};

}  // namespace

std::string absolute_pattern(const std::string& pattern) {
  if (pattern.empty() || fs::path(pattern).is_absolute()) return pattern;
  std::error_code code;
  const fs::path whole = fs::absolute(pattern);
  if (!is_pattern(pattern) || fs::exists(pattern, code)) return whole.lexically_normal().string();
  std::string before;
  for (const char c : fs::current_path().string()) {
    if (c == '*' || c == '?' || c == '[' || c == '\\') before += '\\';
    before += c;
  }
  return before + "/" + pattern;
}

std::vector<fs::path> list_files(const std::string& pattern) {
  check(!pattern.empty(), ErrorKind::invalid, "an empty path names no file");
  Walk walk;
  std::error_code code;
  if (fs::is_directory(pattern, code)) {
    all_below(pattern, walk.out);
    check(!walk.out.empty(), ErrorKind::not_found, "directory '{}' holds no files", pattern);
  } else if (fs::exists(pattern, code)) {  // before globbing: a name may hold brackets
    walk.out.insert(pattern);
  } else {
    check(is_pattern(pattern), ErrorKind::not_found, "no such file or directory: '{}'", pattern);
    for (const fs::path& part : fs::path(pattern).relative_path()) walk.parts.push_back(part.string());
    walk.visit(fs::path(pattern).root_path(), 0);
    check(!walk.out.empty(), ErrorKind::not_found, "no file matches '{}'", pattern);
  }
  return {walk.out.begin(), walk.out.end()};
}

}  // namespace hadal
