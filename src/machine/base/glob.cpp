// list_files: a pattern is matched component by component with fnmatch; ** stands for any number of directories.
#include "base/glob.h"

#include <fnmatch.h>
#include <sys/stat.h>

#include <algorithm>
#include <functional>
#include <set>
#include <tuple>

#include "base/error.h"
#include "base/files.h"

namespace hadal {
namespace fs = std::filesystem;
namespace {

bool is_pattern(const std::string& text) { return text.find_first_of("*?[") != std::string::npos; }
bool hidden(const fs::path& path) { return path.filename().string().rfind('.', 0) == 0; }

struct Walk {
  std::vector<std::string> parts;
  std::set<std::string> out, left_out;

  void below(const fs::path& directory) {
    if (!first_visit(directory, parts.size())) return;
    for (const fs::path& child : children(directory))
      if (!hidden(child))
        take(
            child, [&] { below(child); }, [&] { later.push_back([=, this] { below(child); }); });
  }

  void visit(const fs::path& at, size_t part) {
    if (part == parts.size())
      return take(
          at, [] {}, [] {});
    if (parts[part] == "**") {
      if (!first_visit(at, part)) return;
      visit(at, part + 1);
      for (const fs::path& child : children(at)) {
        std::error_code code;
        if (hidden(child) || !fs::is_directory(child, code)) continue;
        if (fs::is_symlink(child, code))
          later.push_back([=, this] { visit(child, part); });
        else
          visit(child, part);
      }
      return;
    }
    if (!is_pattern(parts[part])) return visit(at / parts[part], part + 1);
    for (const fs::path& child : children(at)) {
      if (fnmatch(parts[part].c_str(), child.filename().c_str(), FNM_PERIOD) == 0) visit(child, part + 1);
    }
  }

  void finish() {  // directories behind links come last: what lies in the tree itself keeps its own name
    while (!later.empty()) {
      const auto next = later.front();
      later.erase(later.begin());
      next();
    }
  }

 private:
  std::vector<fs::path> children(const fs::path& directory) {
    std::vector<fs::path> found;
    std::error_code code;
    const fs::directory_iterator it(directory.empty() ? fs::path(".") : directory, code);
    if (code == std::errc::permission_denied)
      left_out.insert(fmt::format("'{}' cannot be read: {}", directory.string(), code.message()));
    if (code) return found;
    for (const auto& entry : it)
      found.push_back(directory.empty() ? entry.path().filename() : directory / entry.path().filename());
    std::sort(found.begin(), found.end());
    return found;
  }

  template <class Enter, class EnterLater>
  void take(const fs::path& at, const Enter& enter, const EnterLater& enter_later) {
    std::error_code code;
    const bool link = fs::is_symlink(at, code);
    if (fs::is_regular_file(at, code)) {
      out.insert(at.string());
    } else if (fs::is_directory(at, code)) {
      link ? enter_later() : enter();
    } else if (link && !fs::exists(at, code)) {
      left_out.insert(fmt::format("'{}' is a link to nothing", at.string()));
    }
  }

  // A link may lead back to where it stands, or to what is visited under another name.
  bool first_visit(const fs::path& directory, size_t part) {
    struct stat status {};
    if (::stat(directory.empty() ? "." : directory.c_str(), &status) != 0) return true;  // children() sees why
    return visited.insert({status.st_dev, status.st_ino, part}).second;
  }

  std::set<std::tuple<dev_t, ino_t, size_t>> visited;
  std::vector<std::function<void()>> later;
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

std::vector<fs::path> list_files(const std::string& pattern, std::vector<std::string>* left_out) {
  check(!pattern.empty(), ErrorKind::invalid, "an empty path names no file");
  Walk walk;
  std::error_code code;
  const auto none = [&](const std::string& what) {
    const std::string why = walk.left_out.empty() ? "" : "; " + *walk.left_out.begin();
    check(!walk.out.empty(), ErrorKind::not_found, "{} '{}'{}", what, pattern, why);
  };
  if (fs::is_directory(pattern, code)) {
    walk.below(pattern);
    walk.finish();
    none("there are no files in directory");
  } else if (fs::exists(pattern, code)) {  // before globbing: a name may hold brackets
    walk.out.insert(pattern);
  } else {
    check(is_pattern(pattern), ErrorKind::not_found, "no such file or directory: '{}'", pattern);
    for (const fs::path& part : fs::path(pattern).relative_path()) walk.parts.push_back(part.string());
    walk.visit(fs::path(pattern).root_path(), 0);
    walk.finish();
    none("no file matches");
  }
  if (left_out != nullptr) left_out->insert(left_out->end(), walk.left_out.begin(), walk.left_out.end());
  return {walk.out.begin(), walk.out.end()};
}

}  // namespace hadal
