// Added tokens: those that stand beside the vocabulary of BPE, such as "<｜User｜>", and how they are found in a text.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hadal {

// The report's names of special tokens (bars are U+FF5C, gaps U+2581; EOT has ASCII bars).
inline constexpr std::string_view kBosToken = "<｜begin▁of▁sentence｜>";
inline constexpr std::string_view kEosToken = "<｜end▁of▁sentence｜>";
inline constexpr std::string_view kPadToken = "<｜▁pad▁｜>";
inline constexpr std::string_view kFimHoleToken = "<｜fim▁hole｜>";
inline constexpr std::string_view kFimBeginToken = "<｜fim▁begin｜>";
inline constexpr std::string_view kFimEndToken = "<｜fim▁end｜>";
inline constexpr std::string_view kUserToken = "<｜User｜>";
inline constexpr std::string_view kAssistantToken = "<｜Assistant｜>";
inline constexpr std::string_view kEndOfTurnToken = "<|EOT|>";
inline constexpr std::string_view kThinkBeginToken = "<think>";
inline constexpr std::string_view kThinkEndToken = "</think>";

// What encode does with text that spells an added token ("<｜User｜>"): as_text encodes its letters (the safe way, for
// any text that is not our own template), parse yields the token.
enum class SpecialTokens { as_text, parse };

// Bytes begin .. end-1 of a text.
struct TextRange {
  size_t begin = 0, end = 0;
};

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool special = false;                 // left out by decode(skip_special)
  bool normalized = false;              // Hugging Face matches those with false first
  bool single_word = false;             // only where no word character stands beside it
  bool lstrip = false, rstrip = false;  // white space before and behind it belongs to it, and is lost
  bool operator==(const AddedToken&) const = default;
};

// Finds them: the leftmost, of those that start there the longest.
class AddedTokenFinder {
 public:
  void add(std::string_view content, int32_t id);
  bool empty() const { return nodes_.size() == 1; }

  struct Found {
    size_t begin = 0, end = 0;
    int32_t id = -1;  // -1: none
  };
  Found find(std::string_view text, size_t from) const;

 private:
  struct Node {
    int32_t id = -1;
    std::vector<std::pair<char, int32_t>> children;
  };
  int32_t child(int32_t node, char c) const;
  std::vector<Node> nodes_ = std::vector<Node>(1);  // a tree of characters, the root first
  std::array<bool, 256> starts_{};
};

// The neighbourhood of text[begin, end): no word character beside it; white space before `end` and from `at` on.
bool stands_alone(std::string_view text, size_t begin, size_t end);
size_t white_space_begin(std::string_view text, size_t end);
size_t white_space_end(std::string_view text, size_t at);

}  // namespace hadal
