// RulesConfig: rule sets that may refuse a document of a source, and the limits that they hold it to (§7.1 of the post-
// training literature: Gopher, C4, FineWeb, StarCoder). Which sets a source has its list `rules` says; a limit of 0 is
// no limit. Shares are of 1.
#pragma once
#include <cstdint>

namespace hadal {

struct GopherQualityConfig {
  int64_t min_words = 50, max_words = 100000;  // that are more than punctuation
  double min_mean_word = 3, max_mean_word = 10;
  double max_hashes = 0.1, max_ellipses = 0.1;
  double max_bullet_lines = 0.9, max_ellipsis_lines = 0.3;
  double min_words_with_letters = 0.8;
  int64_t min_stop_words = 2;
  bool operator==(const GopherQualityConfig&) const = default;
  template <class Self, class Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("min_words", c.min_words, "words that are not punctuation alone, at least");
    v("max_words", c.max_words, "and at most");
    v("min_mean_word", c.min_mean_word, "characters of a word in the mean, at least");
    v("max_mean_word", c.max_mean_word, "and at most");
    v("max_hashes", c.max_hashes, "'#' per word, at most");
    v("max_ellipses", c.max_ellipses, "'...' and '…' per word, at most");
    v("max_bullet_lines", c.max_bullet_lines, "share of lines that begin with a bullet, at most");
    v("max_ellipsis_lines", c.max_ellipsis_lines, "share of lines that end in an ellipsis, at most");
    v("min_words_with_letters", c.min_words_with_letters, "share of words with a letter, at least");
    v("min_stop_words", c.min_stop_words, "of the, be, to, of, and, that, have, with, at least (English alone)");
  }
};

struct GopherRepetitionConfig {
  double duplicate_paragraphs = 0.3, duplicate_paragraph_characters = 0.2;
  double duplicate_lines = 0.3, duplicate_line_characters = 0.2;
  double top_2_gram = 0.2, top_3_gram = 0.18, top_4_gram = 0.16;
  double duplicate_5_grams = 0.15, duplicate_6_grams = 0.14, duplicate_7_grams = 0.13;
  double duplicate_8_grams = 0.12, duplicate_9_grams = 0.11, duplicate_10_grams = 0.1;
  bool operator==(const GopherRepetitionConfig&) const = default;
  template <class Self, class Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("duplicate_paragraphs", c.duplicate_paragraphs, "share of paragraphs that stood before, at most");
    v("duplicate_paragraph_characters", c.duplicate_paragraph_characters, "share of characters in these, at most");
    v("duplicate_lines", c.duplicate_lines, "share of lines that stood before, at most");
    v("duplicate_line_characters", c.duplicate_line_characters, "share of characters in these, at most");
    v("top_2_gram", c.top_2_gram, "share of characters in the most frequent pair of words, at most");
    v("top_3_gram", c.top_3_gram, "of three words");
    v("top_4_gram", c.top_4_gram, "of four words");
    v("duplicate_5_grams", c.duplicate_5_grams, "share of characters in five words that stood before, at most");
    v("duplicate_6_grams", c.duplicate_6_grams, "in six words");
    v("duplicate_7_grams", c.duplicate_7_grams, "in seven words");
    v("duplicate_8_grams", c.duplicate_8_grams, "in eight words");
    v("duplicate_9_grams", c.duplicate_9_grams, "in nine words");
    v("duplicate_10_grams", c.duplicate_10_grams, "in ten words");
  }
};

// Lines that fail are cut out of the document; the document goes where too little is left of it.
struct C4Config {
  bool ends_in_punctuation = true;  // FineWeb leaves this rule out
  int64_t min_words_of_line = 3, max_word = 1000, min_sentences = 5;
  bool no_javascript = true, no_policy = true, no_lorem_ipsum = true, no_brackets = true, no_citations = true;
  bool operator==(const C4Config&) const = default;
  template <class Self, class Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("ends_in_punctuation", c.ends_in_punctuation, "cut lines that do not end in . ? ! \" or '");
    v("min_words_of_line", c.min_words_of_line, "cut lines of fewer words");
    v("max_word", c.max_word, "cut lines with a longer word (characters)");
    v("no_javascript", c.no_javascript, "cut lines that speak of javascript");
    v("no_policy", c.no_policy, "cut lines about cookies, privacy and terms of use");
    v("no_citations", c.no_citations, "cut [1], [edit] and [citation needed] out of lines");
    v("no_lorem_ipsum", c.no_lorem_ipsum, "refuse documents with lorem ipsum");
    v("no_brackets", c.no_brackets, "refuse documents with {");
    v("min_sentences", c.min_sentences, "sentences in what is left, at least");
  }
};

struct FinewebConfig {
  double min_lines_with_punctuation = 0.12, max_short_lines = 0.67;
  int64_t short_line = 30;
  double duplicate_line_characters = 0.01, max_lines_per_word = 0.3;
  bool operator==(const FinewebConfig&) const = default;
  template <class Self, class Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("min_lines_with_punctuation", c.min_lines_with_punctuation, "share of lines that end a sentence, at least");
    v("max_short_lines", c.max_short_lines, "share of short lines, at most");
    v("short_line", c.short_line, "characters of a line that is short");
    v("duplicate_line_characters", c.duplicate_line_characters, "share of characters in lines that stood before");
    v("max_lines_per_word", c.max_lines_per_word, "line breaks per word, at most");
  }
};

struct CodeConfig {
  double max_mean_line = 100;
  int64_t max_line = 1000;
  double min_letters_and_digits = 0.25;
  bool no_generated = true;
  bool no_xml = true;
  bool operator==(const CodeConfig&) const = default;
  template <class Self, class Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("max_mean_line", c.max_mean_line, "characters of a line in the mean, at most");
    v("max_line", c.max_line, "characters of the longest line, at most");
    v("min_letters_and_digits", c.min_letters_and_digits, "share of characters, at least");
    v("no_generated", c.no_generated, "refuse files whose first lines say that a program wrote them");
    v("no_xml", c.no_xml, "refuse files with '<?xml version=' in their first 100 characters");
  }
};

struct RulesConfig {
  GopherRepetitionConfig gopher_repetition;
  GopherQualityConfig gopher_quality;
  C4Config c4;
  FinewebConfig fineweb;
  CodeConfig code;
  bool operator==(const RulesConfig&) const = default;
  template <class Self, class Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("gopher_repetition", c.gopher_repetition, "limits of rule set gopher_repetition");
    v("gopher_quality", c.gopher_quality, "limits of rule set gopher_quality");
    v("c4", c.c4, "limits of rule set c4");
    v("fineweb", c.fineweb, "limits of rule set fineweb");
    v("code", c.code, "limits of rule set code");
  }
};

// The order in which they are asked, whatever the order of the list.
inline constexpr const char* kRuleSets[] = {"gopher_repetition", "gopher_quality", "c4", "fineweb", "code"};

}  // namespace hadal
