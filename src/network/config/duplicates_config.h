// NearDuplicatesConfig and DecontaminateConfig: rules that hold a document against others, of the corpus or of
// evaluations (§7.2 and §7.3 of the post-training literature). Words are normalised: lower case, no diacritics,
// punctuation is a border (data/normal_words.h).
#pragma once
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "config/enums.h"

namespace hadal {

// Two documents of which `threshold` of all groups of `ngram` words in either are in both (Jaccard's similarity) are
// near duplicates; the first in corpus order stays. Pairs to compare are those of which `hashes` minima of one of
// `buckets` agree (MinHash).
struct NearDuplicatesConfig {
  Across across = Across::off;
  double threshold = 0.8;
  int64_t buckets = 14, hashes = 8, ngram = 5;
  bool fold_numbers = true;
  bool operator==(const NearDuplicatesConfig&) const = default;
  // P = 1 - (1 - s^hashes)^buckets: the share of pairs of similarity s that are compared.
  double found(double s) const { return 1 - std::pow(1 - std::pow(s, double(hashes)), double(buckets)); }
  template <class Self, class Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("across", c.across,
      "off, source: documents of one source are compared, all: those of all sources; the first of alike ones stays");
    v("threshold", c.threshold, "share of the groups of words of either that both have, from which they are alike");
    v("buckets", c.buckets, "groups of minima; documents that agree in one are compared");
    v("hashes", c.hashes, "minima of a bucket");
    v("ngram", c.ngram, "words in a row that are a group; a document of fewer words is alike only to its equal");
    v("fold_numbers", c.fold_numbers, "every number is the same word; false tells numbers apart");
  }
};

struct DecontaminateConfig {
  std::vector<std::string> files;
  std::vector<std::string> fields;
  int64_t ngram = 13, min_words = 6;
  bool fold_numbers = false;
  int64_t common_above = 0;
  bool operator==(const DecontaminateConfig&) const = default;
  template <class Self, class Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("files", c.files, "evaluation items (JSON lines, JSON or lines of text); documents that hold some are removed");
    v("fields", c.fields, "members of an item that are looked for, each and all joined; empty: all texts of it");
    v("ngram", c.ngram, "words in a row, shared with an item, that remove a document (published: 8, 10, 12, 13)");
    v("min_words", c.min_words, "shorter items are looked for whole, of so many words at least");
    v("fold_numbers", c.fold_numbers,
      "every number is the same word, so that other numbers in the same text are found");
    v("common_above", c.common_above,
      "words in a row that more documents of the corpus than this hold are common and remove none (GPT-3: 10); 0: off");
  }
};

}  // namespace hadal
