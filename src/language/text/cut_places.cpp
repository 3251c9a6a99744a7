#include "text/cut_places.h"

#include <algorithm>

#include "text/pre_tokenizer.h"

namespace hadal {
namespace {

bool visible(char c) { return c > 0x20 && c < 0x7F; }

}  // namespace

CutPlaces cut_places_of(const std::vector<std::string>& splits) {
  static const std::string gpt2 = PreTokenizer::gpt2_split();
  static const std::string llama3 =
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
      "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
  if (splits == PreTokenizer::default_splits()) return CutPlaces::behind_line_end;
  if (splits.size() == 1 && splits[0] == llama3) return CutPlaces::behind_line_end;
  if (splits.size() == 1 && splits[0] == gpt2) return CutPlaces::single_line_end;
  if (!splits.empty() && splits[0] == "[\r\n]")
    return CutPlaces::behind_line_end;  // DeepSeek-V2: each line end is a word
  return CutPlaces::none;
}

size_t part_before_cut(std::string_view text, size_t size, CutPlaces places) {
  if (places == CutPlaces::none || text.size() <= size + size / 4) return text.size();
  for (size_t at = std::max<size_t>(size, 2); at < text.size(); ++at) {
    if (text[at - 1] != '\n' || !visible(text[at])) continue;
    if (places == CutPlaces::behind_line_end || visible(text[at - 2])) return at;
  }
  return text.size();
}

}  // namespace hadal
