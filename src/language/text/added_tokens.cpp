#include "text/added_tokens.h"

#include "base/utf8.h"
#include "text/character_kinds.h"

namespace hadal {
namespace {

bool word_ends(std::string_view text) {
  size_t at = text.size();
  if (at == 0) return false;
  do --at;
  while (at > 0 && text.size() - at < 4 && (uint8_t(text[at]) & 0xC0) == 0x80);
  const int length = utf8_length(text.data() + at, text.data() + text.size());
  return length > 0 && at + size_t(length) == text.size() && is_word_character(utf8_decode(text.data() + at, length));
}

bool word_begins(std::string_view text) {
  const int length = utf8_length(text.data(), text.data() + text.size());
  return length > 0 && is_word_character(utf8_decode(text.data(), length));
}

}  // namespace

int32_t AddedTokenFinder::child(int32_t node, char c) const {
  for (const auto& [letter, next] : nodes_[node].children) {
    if (letter == c) return next;
  }
  return -1;
}

void AddedTokenFinder::add(std::string_view content, int32_t id) {
  starts_[uint8_t(content[0])] = true;
  int32_t node = 0;
  for (char c : content) {
    int32_t next = child(node, c);
    if (next < 0) {
      next = int32_t(nodes_.size());
      nodes_[node].children.emplace_back(c, next);
      nodes_.emplace_back();
    }
    node = next;
  }
  nodes_[node].id = id;
}

AddedTokenFinder::Found AddedTokenFinder::find(std::string_view text, size_t from) const {
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!starts_[uint8_t(text[begin])]) continue;
    Found found;
    int32_t node = 0;
    for (size_t at = begin; at < text.size(); ++at) {
      node = child(node, text[at]);
      if (node < 0) break;
      if (nodes_[node].id >= 0) found = {begin, at + 1, nodes_[node].id};
    }
    if (found.id >= 0) return found;
  }
  return {};
}

bool stands_alone(std::string_view text, size_t begin, size_t end) {
  return !word_ends(text.substr(0, begin)) && !word_begins(text.substr(end));
}

size_t white_space_begin(std::string_view text, size_t end) {
  while (end > 0) {
    size_t at = end;
    do --at;
    while (at > 0 && end - at < 4 && (uint8_t(text[at]) & 0xC0) == 0x80);
    const int length = utf8_length(text.data() + at, text.data() + end);
    if (length == 0 || at + size_t(length) != end || !is_white_space(utf8_decode(text.data() + at, length))) break;
    end = at;
  }
  return end;
}

size_t white_space_end(std::string_view text, size_t at) {
  while (at < text.size()) {
    const int length = utf8_length(text.data() + at, text.data() + text.size());
    if (length == 0 || !is_white_space(utf8_decode(text.data() + at, length))) break;
    at += size_t(length);
  }
  return at;
}

}  // namespace hadal
