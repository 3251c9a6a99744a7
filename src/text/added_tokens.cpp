#include "text/added_tokens.h"

namespace hadal {

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

}  // namespace hadal
