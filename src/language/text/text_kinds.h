// Kinds of text (scripts, digits, white space, marks, emoji) for tables, and short samples of many of them to measure a
// tokenizer by. The samples were written for this project.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace hadal {

struct TextSample {
  std::string_view name, text;
};
std::span<const TextSample> text_samples();

// The kind of a word of text: that of its first letter, else of its first digit, else of what it starts with.
std::string_view text_kind(std::string_view word);

struct KindCount {
  std::string name;
  int64_t bytes = 0, characters = 0, tokens = 0;
};
KindCount measure_sample(const Tokenizer& tokenizer, const TextSample& sample);
// The words of a text by kind, most bytes first.
std::vector<KindCount> measure_text(const Tokenizer& tokenizer, std::string_view text);

}  // namespace hadal
