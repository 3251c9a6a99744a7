// The two long lists of a tokenizer.json, "vocab" and "merges" of its model, read without a tree of JSON values: a
// released file has 128,000 entries in each, and a tree of them takes most of a program's start.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hadal {

struct TokenizerLists {
  std::vector<std::pair<std::string_view, int32_t>> vocabulary;  // spelling, id; in the file's order
  std::vector<std::pair<std::string_view, std::string_view>> merges;
  std::string rest;              // the file with {} and [] in their place
  std::shared_ptr<void> memory;  // of the texts
};

// Nothing where the lists do not have the form that nearly all files have, or where the text is no JSON: then the tree
// has to be made, to read it or to say what is wrong.
std::optional<TokenizerLists> read_tokenizer_lists(std::string_view text, int32_t most_ids);

}  // namespace hadal
