// Every line is checked against the model before it is used.
#include "dialogue/token_lines.h"

#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "base/json_members.h"
#include "base/text_mark.h"

namespace hadal {
namespace {

std::vector<int32_t> read_ids(std::string_view json, const std::string& where, int64_t vocabulary) {
  check(json.starts_with('['), ErrorKind::invalid, "{}: must have \"tokens\": [ids] or \"text\": \"...\"", where);
  int64_t replaced = 0;
  std::vector<int32_t> tokens;
  for (const auto& id : parse_json(strict_json(json, replaced), where, {.levels = 16, .kind = ErrorKind::invalid})) {
    check(id.is_number_integer() && id.get<int64_t>() >= 0 && id.get<int64_t>() < vocabulary, ErrorKind::invalid,
          "{}: token id {} must be a whole number in 0 .. {}", where, json_text(id), vocabulary - 1);
    tokens.push_back(id.get<int32_t>());
  }
  return tokens;
}

}  // namespace

TokenLines::TokenLines(std::string path) : path_(std::move(path)), in_(&std::cin) {
  if (path_ == "-") return;
  file_.open(path_, std::ios::binary);
  check(bool(file_), ErrorKind::not_found, "{}: no such file (or not readable)", path_);
  check(!std::filesystem::is_directory(path_), ErrorKind::invalid,
        "{}: a directory; --input takes a file of JSON lines", path_);
  in_ = &file_;
}

void TokenLines::begin(const TextModel& model, const std::string& bos, bool any_length) {
  model_ = &model, any_length_ = any_length;
  if (model.tokenizer) start_ = text_start(model, bos);
}

std::string TokenLines::where() const {
  return fmt::format("{}: line {}", path_ == "-" ? "standard input" : path_, number_);
}

TokenLine TokenLines::parse(const std::string& line) const {
  std::string_view whole;
  std::string text;
  JsonMember members[] = {{"text", &text}, {"tokens"}};
  const JsonFault fault = read_json_members(line, whole, members);
  check(!fault, ErrorKind::invalid, "{}: not valid JSON ({})", where(), fault.text());
  check(whole.front() == '{', ErrorKind::invalid, "{}: not a JSON object", where());
  const ModelConfig& config = model_->model.transformer->config();
  TokenLine result;
  result.is_text = members[0].is_string();
  if (result.is_text) {
    result.tokens = start_;
    result.text_bytes = int64_t(text.size());
    result.replaced = members[0].replaced;
    model_->text().encode_to(text, SpecialTokens::as_text, result.tokens);
  } else {
    result.tokens = read_ids(members[1].text, where(), config.vocab_size);
  }
  const int64_t n = int64_t(result.tokens.size());
  check(n > 0, ErrorKind::invalid, "{}: no tokens", where());
  check(any_length_ || n <= config.max_positions + 1, ErrorKind::invalid,
        "{}: {} tokens, more than the model's {} positions", where(), n, config.max_positions);
  return result;
}

std::optional<TokenLine> TokenLines::next() {
  polled_.reset();
  check(!interrupted(), ErrorKind::io, "interrupted before line {}", number_ + 1);
  std::string line;
  while (std::getline(*in_, line)) {
    if (++number_ == 1) line = std::string(behind_mark(line, where()));
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    polled_.emplace("stopping after the current line");
    return parse(line);
  }
  check(!in_->bad(), ErrorKind::io, "{}: cannot be read to its end", path_);
  return std::nullopt;
}

}  // namespace hadal
