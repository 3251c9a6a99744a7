// libFuzzer: any bytes as a file of text, under names that say different things (the first byte picks one). Only Error
// may come out, and what is read once is read again.
// room: data
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/document_reader.h"
#include "scratch_folder.h"

namespace {

using namespace hadal;
using namespace hadal::data;

std::vector<std::string> read(const std::string& path, const ReaderOptions& options) {
  std::vector<std::string> texts;
  try {
    DocumentReader reader(path, options);
    if (!reader.not_text().empty()) return {reader.refusal()};
    for (std::string text; reader.next(text);) texts.push_back(text);
    reader.file_hash();
    for (const std::string& note : reader.notes()) texts.push_back(note);
  } catch (const Error& error) {
    texts.push_back(error.what());
  }
  return texts;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Folder folder;
  static constexpr const char* kNames[] = {"a.jsonl", "a.json", "a.txt", "a.gz", "a.zst", "a"};
  if (size == 0) return 0;
  const std::string path = (folder.path / kNames[data[0] % 6]).string();
  write(path, std::string(reinterpret_cast<const char*>(data + 1), size - 1));
  const ReaderOptions options{.on_bad_line = OnBadLine(data[0] / 6 % 2), .named = data[0] >= 128};
  if (read(path, options) != read(path, options)) std::abort();
  return 0;
}
