// The files of the sources, as they lie on the disk now (corpus.h).
#include <sys/stat.h>

#include <filesystem>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/input_file.h"
#include "data/corpus.h"

namespace hadal::data {
namespace fs = std::filesystem;
namespace {

SourceFile stat_file(const fs::path& path) {
  require_file(path, "the text is read more than once");
  struct stat status {};
  check(::stat(path.c_str(), &status) == 0, ErrorKind::not_found, "no such file: '{}'", path.string());
  SourceFile file;
  file.path = path.string();
  file.bytes = int64_t(status.st_size);
  file.modified_ns = int64_t(status.st_mtim.tv_sec) * 1'000'000'000 + status.st_mtim.tv_nsec;
  return file;
}

// A name of the system for a file that has another one, such as /dev/stdin, means another file tomorrow.
fs::path lasting_name(const fs::path& path) {
  const std::string name = path.string();
  if (!name.starts_with("/dev/") && !name.starts_with("/proc/")) return path;
  std::error_code code;
  const fs::path real = fs::canonical(path, code);
  return code ? path : real;
}

std::string one_name(const fs::path& path) {  // of all that it may be named by
  std::error_code code;
  const fs::path real = fs::weakly_canonical(path, code);
  return (code ? path : real).string();
}

}  // namespace

std::string source_name(const DataConfig& config, size_t s) {
  const SourceConfig& source = config.sources[s];
  check(!source.paths.empty(), ErrorKind::invalid, "data.sources.{}.paths is empty: name a file, directory or glob", s);
  if (!source.name.empty()) return source.name;
  fs::path path(source.paths.front());
  if (path.filename().empty()) path = path.parent_path();
  return path.filename().string();
}

std::vector<SourceFiles> list_sources(const DataConfig& config) {
  check(!config.sources.empty(), ErrorKind::invalid,
        "there is no text to read: give data.sources at least one source with paths");
  std::vector<SourceFiles> sources;
  std::set<std::string> names;
  for (size_t s = 0; s < config.sources.size(); ++s) {
    const SourceConfig& source = config.sources[s];
    SourceFiles files;
    files.name = source_name(config, s);
    files.text_field = source.text_field;
    files.format = source.format;
    check(names.insert(files.name).second, ErrorKind::invalid,
          "two sources are named '{}': give one of them another name with --set data.sources.{}.name=NAME", files.name,
          s);
    std::set<std::string> taken;
    for (const std::string& pattern : source.paths) {
      check(pattern != "-" || fs::exists(pattern), ErrorKind::invalid,
            "'-': the text is read more than once, and standard input cannot be; write it to a file and name that");
      for (const fs::path& path : list_files(pattern, &files.left_out)) {
        SourceFile file = stat_file(lasting_name(path));
        if (taken.insert(one_name(path)).second) files.files.push_back(std::move(file));
      }
    }
    sources.push_back(std::move(files));
  }
  return sources;
}

}  // namespace hadal::data
