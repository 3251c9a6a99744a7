// Documents of one file: the whole text, or one per JSON object, in the member text_field (document_form.h tells
// which), or a dialogue (dialogue.h). Compressed files are read through, and text comes as UTF-8 without a byte order
// mark (text_stream.h), which a text that a program copied into JSON may bring along. Empty lines of JSONL are passed
// over. A line that is no JSON or lacks its text throws corrupt with file, line and what to do, or is passed over and
// counted.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/enums.h"
#include "data/document_form.h"

namespace hadal::data {

struct ReaderOptions {
  std::string text_field = "text";
  OnBadLine on_bad_line = OnBadLine::stop;
  // The user named this very file: if it is named .json and holds no texts, he is told so, instead of being given the
  // JSON itself as text.
  bool named = false;
  const char* how_to_skip = "data.on_bad_line = \"skip\"";  // completes "... passes over such lines"
  std::string how_to_name_field = "set text_field of the source";
  SourceFormat format = SourceFormat::text;  // of dialogues: every object is one, given in the one form of dialogue.h
};

struct BadLine {
  int64_t line = 0;
  std::string reason;
};
constexpr int64_t kBadLinesListed = 10;

class DocumentReader {
 public:
  explicit DocumentReader(const std::filesystem::path& path, ReaderOptions options = {});
  ~DocumentReader();

  Form form() const;
  // What the file is, if it holds no text at all ("a PDF document", "binary"), as far as its beginning tells; else
  // empty. refusal() is the whole sentence.
  const std::string& not_text() const;
  const std::string& refusal() const;

  bool next(std::string& text);                          // false at the end
  int64_t read(char* out, int64_t bytes);                // of a text, instead of next(): 0 at the end
  std::vector<std::string> notes() const;                // each completes "FILE ..."; complete after the end
  int64_t replaced() const;                              // lone surrogates, so far, that became U+FFFD
  int64_t line() const;                                  // where the last document began, from 1
  int64_t bad_lines() const;                             // that were passed over so far
  const std::vector<BadLine>& listed_bad_lines() const;  // the first of them
  int64_t file_bytes_read() const;
  uint64_t file_hash() const;  // after the end

 private:
  struct State;
  std::unique_ptr<State> state_;
};

int64_t bytes_outside_utf8(std::string_view text);
// Whether bytes are no text: a NUL byte, or more than 30 % of them outside of well-formed UTF-8.
bool looks_binary(std::string_view bytes, int64_t outside_utf8);
inline bool looks_binary(std::string_view bytes) { return looks_binary(bytes, bytes_outside_utf8(bytes)); }
// The sentence that refuses such bytes.
std::string binary_refusal(const std::string& path, std::string_view bytes);

}  // namespace hadal::data
