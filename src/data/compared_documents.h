// What documents that went were held against, in words: the evaluation item and what of it stands in the document; the
// near duplicate that stays and the words that differ; the largest cluster. Texts of documents are given to take() in
// corpus order; few are kept.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data/corpus.h"
#include "data/features.h"

namespace hadal::data {

class ComparedDocuments {
 public:
  ComparedDocuments(const Corpus& corpus, const FeatureMaker& features) : corpus_(corpus), features_(features) {}

  void want(const NearDuplicate& pair);  // beside_first() will be asked for it
  void want_largest_cluster();
  void take(int64_t document, size_t source, const std::string& text);

  // Of a wanted near duplicate: where the one that stays is, and words of either that the other lacks.
  std::vector<std::string> beside_first(int64_t document, size_t source, const std::string& text,
                                        double& similarity) const;
  std::vector<std::string> evaluation_item(const std::string& text, size_t source) const;
  // A sentence with its size and its least similar pair; empty where nothing was alike.
  std::string largest_cluster() const;

 private:
  struct Kept {
    size_t source = 0;
    std::string text;  // as rules left it
  };
  std::string as_left(std::string text, size_t source) const;
  std::vector<std::string> spellings(const std::string& text, size_t source) const;

  const Corpus& corpus_;
  const FeatureMaker& features_;
  std::map<int64_t, Kept> firsts_;
  std::map<int64_t, int64_t> first_of_;                      // of wanted near duplicates
  std::map<int64_t, std::vector<uint64_t>> cluster_groups_;  // of its first documents
  int64_t cluster_size_ = 0;
};

}  // namespace hadal::data
