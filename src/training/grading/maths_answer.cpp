#include "grading/maths_answer.h"

#include <algorithm>
#include <optional>
#include <vector>

namespace hadal::grading {
namespace {

struct Box {
  size_t begin = 0, end = 0;  // with the command and its braces
  std::string_view inside;
};

// The place behind the brace that closes the one at `open`; nothing where none does.
std::optional<size_t> behind_braces(std::string_view text, size_t open) {
  int64_t depth = 0;
  for (size_t at = open; at < text.size(); ++at) {
    if (text[at] == '\\') {
      ++at;
    } else if (text[at] == '{') {
      ++depth;
    } else if (text[at] == '}' && --depth == 0) {
      return at + 1;
    }
  }
  return std::nullopt;
}

std::vector<Box> boxes_of(std::string_view text) {
  std::vector<Box> boxes;
  for (size_t at = 0; (at = text.find('\\', at)) != std::string_view::npos;) {
    const std::string_view rest = text.substr(at);
    const size_t name = rest.starts_with("\\boxed") ? 6 : rest.starts_with("\\fbox") ? 5 : 0;
    size_t open = at + name;
    while (name > 0 && open < text.size() && text[open] == ' ') ++open;
    if (name == 0 || open >= text.size() || text[open] != '{') {
      ++at;
      continue;
    }
    const auto end = behind_braces(text, open);
    if (!end) return boxes;  // none behind can be closed either
    boxes.push_back({at, *end, text.substr(open + 1, *end - open - 2)});
    at = *end;
  }
  return boxes;
}

bool says_or(std::string_view between) {
  std::string letters;
  for (const char c : between)
    if (std::isalpha(static_cast<unsigned char>(c)) != 0) letters += char(std::tolower(static_cast<unsigned char>(c)));
  return letters == "or" || letters == "textor";
}

// Where the last "answer is" ends, in letters of any case.
size_t behind_answer_is(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  const size_t at = lower.rfind("answer is");
  return at == std::string::npos ? at : at + 9;
}

std::string sentence_at(std::string_view text) {
  size_t begin = text.find_first_not_of(" :*");
  if (begin == std::string_view::npos) return "";
  text = text.substr(begin, text.find('\n', begin) - begin);
  for (size_t at = 0; at < text.size(); ++at)  // a full stop that no digit follows
    if (text[at] == '.' && (at + 1 == text.size() || text[at + 1] == ' ')) return std::string(text.substr(0, at));
  return std::string(text);
}

}  // namespace

Extracted extract_maths(std::string_view text) {
  const std::string_view kThought = "</think>";
  const size_t thought = text.rfind(kThought);
  if (thought != std::string_view::npos) text.remove_prefix(thought + kThought.size());
  const std::vector<Box> boxes = boxes_of(text);
  if (!boxes.empty()) {
    const Box& last = boxes.back();
    if (boxes.size() > 1) {
      const Box& before = boxes[boxes.size() - 2];
      if (before.inside != last.inside && says_or(text.substr(before.end, last.begin - before.end)))
        return {"", false, "two boxes with \"or\" between them"};
    }
    return {std::string(last.inside), true, "the last \\boxed"};
  }
  const size_t at = behind_answer_is(text);
  if (at == std::string_view::npos) return {"", false, "neither \\boxed nor \"answer is\""};
  std::string answer = sentence_at(text.substr(at));
  const bool found = !answer.empty();
  return {std::move(answer), found, "behind \"answer is\""};
}

}  // namespace hadal::grading
