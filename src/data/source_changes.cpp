// What became of source files since a build (prepare.h).
#include <map>
#include <utility>

#include "data/byte_stream.h"
#include "data/prepare.h"

namespace hadal::data {
namespace fs = std::filesystem;

std::vector<std::string> source_changes(const std::vector<SourceFiles>& now, const std::vector<SourceFiles>& then) {
  std::map<std::pair<std::string, std::string>, const SourceFile*> before;
  const auto place = [](const SourceFile& file) { return fs::absolute(file.path).lexically_normal().string(); };
  for (const auto& source : then)
    for (const auto& file : source.files) before[{source.name, place(file)}] = &file;
  std::vector<std::string> changes;
  for (const auto& source : now) {
    for (const auto& file : source.files) {
      auto found = before.find({source.name, place(file)});
      if (found == before.end()) {
        changes.push_back("new: " + file.path);
        continue;
      }
      const SourceFile& old = *found->second;
      const bool same =
          file.bytes == old.bytes && (file.modified_ns == old.modified_ns || hash_of_file(file.path) == old.hash);
      if (!same) changes.push_back("changed: " + file.path);
      before.erase(found);
    }
  }
  for (const auto& [key, file] : before) changes.push_back("gone: " + file->path);
  return changes;
}

}  // namespace hadal::data
