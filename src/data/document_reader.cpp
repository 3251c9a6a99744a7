// Whole files and JSONL lines.
#include "data/document_reader.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/json_members.h"
#include "base/utf8.h"
#include "data/byte_stream.h"

namespace hadal::data {
namespace {

constexpr int64_t kBlock = 1 << 18;

}  // namespace

struct DocumentReader::State {
  std::string path, field;
  bool jsonl = false, done = false;
  std::unique_ptr<ByteStream> bytes;
  std::string buffer;           // unread bytes of the file
  size_t at = 0, searched = 0;  // start of the line in buffer; how far no line end was found
  int64_t line = 0, replaced = 0;

  bool fill() {
    const size_t had = buffer.size();
    buffer.resize(had + size_t(kBlock));
    const int64_t got = bytes->read(buffer.data() + had, kBlock);
    buffer.resize(had + size_t(got));
    return got > 0;
  }

  bool whole(std::string& text) {
    if (done) return false;
    done = true;
    text.clear();
    for (;;) {
      const size_t had = text.size();
      text.resize(had + std::max(size_t(kBlock), had / 2));
      const int64_t got = bytes->read(text.data() + had, int64_t(text.size() - had));
      text.resize(had + size_t(got));
      if (got == 0) return true;
    }
  }

  // The next line without its end, or false.
  bool next_line(std::string_view& out) {
    if (at > size_t(kBlock) * 4) buffer.erase(0, at), searched -= at, at = 0;
    for (;;) {
      const size_t end = buffer.find('\n', searched);
      if (end != std::string::npos) {
        out = std::string_view(buffer).substr(at, end - at);
        at = searched = end + 1;
        ++line;
        return true;
      }
      searched = buffer.size();
      if (fill()) continue;
      if (at == buffer.size()) return false;
      out = std::string_view(buffer).substr(at);
      at = searched = buffer.size();
      ++line;
      return true;
    }
  }

  bool next_json(std::string& text) {
    std::string_view json;
    do {
      if (!next_line(json)) return false;
      if (line == 1 && json.substr(0, 3) == "\xEF\xBB\xBF") json.remove_prefix(3);
      while (!json.empty() && (json.back() == '\r' || json.back() == ' ' || json.back() == '\t')) json.remove_suffix(1);
    } while (json.empty());
    std::string_view whole;
    JsonMember wanted{field, &text};
    const JsonFault fault = read_json_members(json, whole, {&wanted, 1});
    if (fault) fail(ErrorKind::corrupt, "'{}' line {}: not valid JSON ({})", path, line, fault.text());
    check(whole.front() == '{', ErrorKind::corrupt, "'{}' line {}: a JSON object with the field '{}' was expected",
          path, line, field);
    if (wanted.text.empty())
      fail(ErrorKind::corrupt, "'{}' line {}: there is no field '{}' (fields: {}); set text_field of the source", path,
           line, field, json_member_names(whole));
    check(wanted.is_string(), ErrorKind::corrupt, "'{}' line {}: the field '{}' is not a string", path, line, field);
    replaced += wanted.replaced;
    return true;
  }
};

DocumentReader::DocumentReader(const std::filesystem::path& path, std::string text_field)
    : state_(std::make_unique<State>()) {
  state_->path = path.string();
  state_->field = std::move(text_field);
  state_->jsonl = is_jsonl(path);
  state_->bytes = open_bytes(path);
}
DocumentReader::~DocumentReader() = default;

bool DocumentReader::next(std::string& text) { return state_->jsonl ? state_->next_json(text) : state_->whole(text); }
int64_t DocumentReader::replaced() const { return state_->replaced; }
int64_t DocumentReader::file_bytes_read() const { return state_->bytes->file_bytes_read(); }
uint64_t DocumentReader::file_hash() const { return state_->bytes->file_hash(); }

bool is_jsonl(const std::filesystem::path& path) {
  const std::filesystem::path inner = compression_of(path) == Compression::none ? path : path.stem();
  const std::string extension = inner.extension().string();
  return extension == ".jsonl" || extension == ".ndjson";
}

bool looks_binary(std::string_view bytes) {
  if (std::memchr(bytes.data(), 0, bytes.size()) != nullptr && !bytes.empty()) return true;
  int64_t invalid = 0;
  std::string_view rest = bytes;
  while (!rest.empty()) {
    rest.remove_prefix(size_t(utf8_valid_prefix(rest)));
    if (rest.empty()) break;
    ++invalid;
    rest.remove_prefix(1);
  }
  return invalid * 10 > int64_t(bytes.size()) * 3;
}

}  // namespace hadal::data
