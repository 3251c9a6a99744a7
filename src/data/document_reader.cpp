// The beginning of a file is read to tell what it holds; what was read of it is the first part of the text.
#include "data/document_reader.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/json_members.h"
#include "base/utf8.h"
#include "data/dialogue.h"
#include "data/file_names.h"
#include "data/foreign_formats.h"
#include "data/text_stream.h"

namespace hadal::data {
namespace {

constexpr int64_t kBlock = 1 << 18;
constexpr std::string_view kMark = "\xEF\xBB\xBF";  // byte order
constexpr const char* kReadable =
    "text in UTF-8 or UTF-16, JSON lines or JSON, as they are or as .gz or .zst, was expected";

}  // namespace

struct DocumentReader::State {
  std::string path;
  ReaderOptions options;
  std::unique_ptr<ByteStream> bytes;
  Form form = Form::text;
  std::string not_text, refusal, note;
  std::string buffer;           // unread bytes of the text
  size_t at = 0, searched = 0;  // start of the line in buffer; how far no line end was found
  int64_t line = 0, replaced = 0, bad_lines = 0;
  int64_t document_line = 1;
  std::vector<BadLine> listed;
  bool ended = false, done = false;    // the stream gave its last byte; next() said so
  bool in_list = false, fresh = true;  // Form::values: inside of [ ]; no value stands since the last [ or comma

  bool fill(int64_t block = kBlock) {
    if (ended) return false;
    const size_t had = buffer.size();
    buffer.resize(had + size_t(block));
    const int64_t got = bytes->read(buffer.data() + had, block);
    buffer.resize(had + size_t(got));
    ended = got == 0;
    return !ended;
  }

  void find_form() {
    while (buffer.size() < kFormatBytes && fill(1 << 16)) {
    }
    if (const ForeignFormat foreign = foreign_format(buffer)) {
      not_text = foreign.name;
      refusal = fmt::format("'{}' is {}; {}; {}", path, foreign.name, kReadable, foreign.remedy_for(path));
      return;
    }
    const std::string extension = inner_extension(path);
    const bool dialogues = options.format != SourceFormat::text;
    const std::string field = dialogue_member(options.format, options.text_field);
    FormGuess guess = guess_form(buffer, ended, extension, field, dialogues);
    for (; guess.undecided; guess = guess_form(buffer, ended, extension, field, dialogues))
      fill(std::max<int64_t>(kBlock, int64_t(buffer.size())));
    form = guess.form;
    if (dialogues && form == Form::text) {
      not_text = "no dialogues";
      refusal =
          fmt::format("'{}' holds no dialogues of format = \"{}\": {}", path, enum_name(options.format),
                      guess.no_json.empty() ? "it is neither JSON lines nor JSON with '" + field + "'" : guess.no_json);
      return;
    }
    const bool named_json = extension == ".json", named_lines = extension == ".jsonl" || extension == ".ndjson";
    check(guess.no_json.empty() || !named_json || !options.named, ErrorKind::invalid,
          "'{}' holds no texts: {}; {}, or name the file .txt to take it as it stands", path, guess.no_json,
          options.how_to_name_field);
    if (named_json && !guess.no_json.empty()) note = "is read as plain text: " + guess.no_json;
    if (form == Form::lines && !named_lines) note = "holds JSON lines and is read as such";
    if (form == Form::values && !named_json) note = "holds JSON over several lines or in a list and is read as such";
    if (form == Form::text && looks_binary(std::string_view(buffer).substr(0, 1 << 16)))
      not_text = "binary", refusal = binary_refusal(path, buffer);
  }

  bool whole(std::string& text) {
    if (done) return false;
    done = true;
    text.swap(buffer);
    buffer.clear();
    while (!ended) {
      const size_t had = text.size();
      text.resize(had + std::max(size_t(kBlock), had / 2));
      const int64_t got = bytes->read(text.data() + had, int64_t(text.size() - had));
      text.resize(had + size_t(got));
      ended = got == 0;
    }
    return true;
  }

  int64_t read(char* out, int64_t n) {
    if (buffer.empty()) return bytes->read(out, n);
    const size_t got = std::min(size_t(n), buffer.size());
    std::memcpy(out, buffer.data(), got);
    buffer.erase(0, got);
    return int64_t(got);
  }

  void forget_read() {
    if (at > size_t(kBlock) * 4) buffer.erase(0, at), searched -= std::min(searched, at), at = 0;
  }

  // The next line without its end, or false.
  bool next_line(std::string_view& out) {
    forget_read();
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

  // The document of an object, or why it has none.
  std::string take(std::string_view json, std::string& text) {
    std::string_view whole_value;
    JsonMember wanted{options.text_field, &text};
    const JsonFault fault = read_json_members(json, whole_value, {&wanted, 1});
    if (fault) return fmt::format("not valid JSON ({})", fault.text());
    if (options.format != SourceFormat::text)
      return read_dialogue(whole_value, options.format, options.text_field, text, replaced);
    const std::string& field = options.text_field;
    if (whole_value.front() != '{') return fmt::format("a JSON object with the field '{}' was expected", field);
    if (wanted.text.empty())
      return fmt::format("there is no field '{}' (fields: {}); {}", field, json_member_names(whole_value),
                         options.how_to_name_field);
    if (!wanted.is_string()) return fmt::format("the field '{}' is not a string", field);
    if (text.starts_with(kMark)) text.erase(0, kMark.size());
    replaced += wanted.replaced;
    return "";
  }

  void bad(int64_t number, const std::string& reason) {
    check(options.on_bad_line == OnBadLine::skip, ErrorKind::corrupt, "'{}' line {}: {} ({} passes over such lines)",
          path, number, reason, options.how_to_skip);
    if (bad_lines++ < kBadLinesListed) listed.push_back({number, reason});
  }

  bool next_of_lines(std::string& text) {
    std::string_view json;
    while (next_line(json)) {
      if (json.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      if (json.starts_with(kMark)) json.remove_prefix(kMark.size());  // of a file that was appended to another
      const std::string reason = take(json, text);
      document_line = line;
      if (reason.empty()) return true;
      bad(line, reason);
    }
    return false;
  }

  // Passes over what stands between two values; false at the end of the file.
  bool to_next_value() {
    for (;; ++at) {
      if (at == buffer.size() && !fill()) {
        check(!in_list, ErrorKind::corrupt, "'{}' ends inside of a list: its ] is missing", path);
        return false;
      }
      const char c = buffer[at];
      if (c == '\n') ++line;
      if (c == ' ' || c == '\t' || c == '\r' || c == '\n') continue;
      if (c == '[' && !in_list)
        in_list = fresh = true;
      else if (c == ']' && in_list)
        in_list = false;
      else if (c == ',' && in_list && !fresh)
        fresh = true;
      else
        break;
    }
    check(!in_list || fresh, ErrorKind::corrupt, "'{}' line {}: not valid JSON (a comma or ] was expected)", path,
          line + 1);
    return true;
  }

  bool next_of_values(std::string& text) {
    for (;;) {
      forget_read();
      if (!to_next_value()) return false;
      std::string_view value;
      size_t length = 0;
      JsonFault fault = next_json_value(std::string_view(buffer).substr(at), length, value);
      while (fault && fault.cut_off && fill(std::max<int64_t>(kBlock, int64_t(buffer.size() - at))))
        fault = (length = 0, next_json_value(std::string_view(buffer).substr(at), length, value));
      const int64_t number = line + 1;
      if (fault) {
        const int64_t lines = std::count(buffer.begin() + int64_t(at), buffer.begin() + int64_t(at + fault.at), '\n');
        fail(ErrorKind::corrupt, "'{}' line {}: not valid JSON ({}); behind it the file cannot be understood", path,
             number + lines, fault.what);
      }
      line += std::count(value.begin(), value.end(), '\n');
      at += length, fresh = false;
      const std::string reason = take(value, text);
      document_line = number;
      if (reason.empty()) return true;
      bad(number, reason);
    }
  }
};

DocumentReader::DocumentReader(const std::filesystem::path& path, ReaderOptions options)
    : state_(std::make_unique<State>()) {
  state_->path = path.string();
  state_->options = std::move(options);
  state_->bytes = open_text(path);
  state_->find_form();
}
DocumentReader::~DocumentReader() = default;

Form DocumentReader::form() const { return state_->form; }
const std::string& DocumentReader::not_text() const { return state_->not_text; }
const std::string& DocumentReader::refusal() const { return state_->refusal; }

bool DocumentReader::next(std::string& text) {
  switch (state_->form) {
    case Form::text: return state_->whole(text);
    case Form::lines: return state_->next_of_lines(text);
    case Form::values: return state_->next_of_values(text);
  }
  return false;
}

int64_t DocumentReader::read(char* out, int64_t bytes) { return state_->read(out, bytes); }

std::vector<std::string> DocumentReader::notes() const {
  std::vector<std::string> notes = state_->bytes->notes();
  if (!state_->note.empty()) notes.push_back(state_->note);
  return notes;
}

int64_t DocumentReader::replaced() const { return state_->replaced + state_->bytes->replaced(); }
int64_t DocumentReader::line() const { return state_->document_line; }
int64_t DocumentReader::bad_lines() const { return state_->bad_lines; }
const std::vector<BadLine>& DocumentReader::listed_bad_lines() const { return state_->listed; }
int64_t DocumentReader::file_bytes_read() const { return state_->bytes->file_bytes_read(); }
uint64_t DocumentReader::file_hash() const { return state_->bytes->file_hash(); }

int64_t bytes_outside_utf8(std::string_view text) {
  int64_t outside = 0;
  while (!text.empty()) {
    text.remove_prefix(size_t(utf8_valid_prefix(text)));
    if (text.empty()) break;
    ++outside;
    text.remove_prefix(1);
  }
  return outside;
}

bool looks_binary(std::string_view bytes, int64_t outside_utf8) {
  if (!bytes.empty() && std::memchr(bytes.data(), 0, bytes.size()) != nullptr) return true;
  return outside_utf8 * 10 > int64_t(bytes.size()) * 3;
}

std::string binary_refusal(const std::string& path, std::string_view bytes) {
  const std::string_view start = bytes.substr(0, kFormatBytes);
  int64_t zeros[2] = {0, 0};  // at even and odd places
  for (size_t i = 0; i < start.size(); ++i) zeros[i % 2] += start[i] == 0;
  const int64_t many = int64_t(start.size()) / 5, few = int64_t(start.size()) / 50;
  for (const int side : {0, 1})
    if (start.size() >= 32 && zeros[side] > many && zeros[1 - side] <= few)
      return fmt::format(
          "'{}' seems to be UTF-16 without a byte order mark; convert it first: iconv -f UTF-16{} -t UTF-8 '{}'", path,
          side == 0 ? "BE" : "LE", path);
  return fmt::format("'{}' is a binary file; {}", path, kReadable);
}

}  // namespace hadal::data
