// Documents of one file. A text file is one document; a .jsonl or .ndjson file holds one per line, in the field
// text_field. Either may be compressed (.gz, .zst). Empty lines of JSONL are passed over; a line that is not JSON or
// lacks the field throws corrupt with file and line.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace hadal::data {

class DocumentReader {
 public:
  DocumentReader(const std::filesystem::path& path, std::string text_field);
  ~DocumentReader();
  bool next(std::string& text);  // false at the end
  int64_t replaced() const;      // escapes of lone surrogates, so far, that became U+FFFD
  int64_t file_bytes_read() const;
  uint64_t file_hash() const;  // after the end

 private:
  struct State;
  std::unique_ptr<State> state_;
};

bool is_jsonl(const std::filesystem::path& path);  // x.jsonl, x.ndjson, also with .gz or .zst

// Whether bytes are no text: a NUL byte, or more than 30 % of them outside of well-formed UTF-8.
bool looks_binary(std::string_view bytes);

}  // namespace hadal::data
