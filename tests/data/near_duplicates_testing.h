// Corpora with documents that are alike to every degree, and their similarities found by comparing all pairs.
#pragma once
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/data_testing.h"

namespace hadal::data {

inline std::string made_word(RandomStream& random) {
  std::string word;
  for (uint64_t value = random.below(20'000) + 676; value > 0; value /= 26) word += char('a' + value % 26);
  return word;
}

// Families of documents: one, and copies of it of which some words are replaced, more and more of them.
inline std::vector<std::string> families(int64_t n, uint64_t seed) {
  RandomStream random{seed, stream_id("test.families")};
  std::vector<std::vector<std::string>> documents;
  std::vector<std::string> first;
  while (int64_t(documents.size()) < n) {
    if (first.empty() || random.below(4) == 0) {
      first.clear();
      for (uint64_t words = 100 + random.below(100); words > 0; --words) first.push_back(made_word(random));
      documents.push_back(first);
      continue;
    }
    std::vector<std::string> copy = first;
    for (uint64_t changes = 1 + random.below(8); changes > 0; --changes)
      copy[random.below(copy.size())] = made_word(random);
    if (random.below(4) == 0) copy.resize(copy.size() * 3 / 4);
    documents.push_back(std::move(copy));
  }
  random_shuffle(documents, seed, stream_id("test.families.order"));
  std::vector<std::string> texts;
  std::set<std::string> met;
  for (const auto& words : documents) {
    std::string text;
    for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
    if (met.insert(text).second) texts.push_back(std::move(text));
  }
  return texts;
}

struct SimilarPair {
  int64_t a, b;  // a < b
  double similarity;
};

// All pairs with a group of five words in common, by counting them: of others the similarity is 0.
inline std::vector<SimilarPair> similar_pairs(const std::vector<std::string>& texts) {
  std::unordered_map<std::string, std::vector<int64_t>> holders;
  std::vector<int64_t> sizes;
  for (size_t d = 0; d < texts.size(); ++d) {
    std::vector<size_t> begins{0};
    for (size_t i = 0; i < texts[d].size(); ++i)
      if (texts[d][i] == ' ') begins.push_back(i + 1);
    begins.push_back(texts[d].size() + 1);
    std::set<std::string> groups;
    for (size_t i = 0; i + 5 < begins.size(); ++i)
      groups.insert(texts[d].substr(begins[i], begins[i + 5] - 1 - begins[i]));
    for (const std::string& group : groups) holders[group].push_back(int64_t(d));
    sizes.push_back(int64_t(groups.size()));
  }
  std::map<std::pair<int64_t, int64_t>, int64_t> shared;
  for (const auto& [group, documents] : holders)
    for (size_t i = 0; i < documents.size(); ++i)
      for (size_t k = i + 1; k < documents.size(); ++k) ++shared[{documents[i], documents[k]}];
  std::vector<SimilarPair> pairs;
  for (const auto& [pair, both] : shared) {
    const double either = double(sizes[size_t(pair.first)] + sizes[size_t(pair.second)] - both);
    pairs.push_back({pair.first, pair.second, double(both) / either});
  }
  return pairs;
}

// What a scan removed beside the similarities of all pairs: in `cluster`, each document's first; itself where it stays.
struct Removal {
  std::vector<int64_t> cluster;
  bool together(int64_t a, int64_t b) const { return cluster[size_t(a)] == cluster[size_t(b)]; }
  explicit Removal(const Corpus& corpus) {
    for (int64_t d = 0; d < corpus.n_documents(); ++d) cluster.push_back(d);
    for (const NearDuplicate& gone : corpus.near_duplicates()) cluster[gone.document] = gone.first;
  }
};

// Of pairs above `similarity`, the share that a scan put together.
inline double recall(const Removal& removal, const std::vector<SimilarPair>& pairs, double similarity, int64_t& n) {
  int64_t found = 0;
  n = 0;
  for (const SimilarPair& pair : pairs)
    if (pair.similarity > similarity) ++n, found += removal.together(pair.a, pair.b);
  return double(found) / double(std::max<int64_t>(1, n));
}

// Clusters of the pairs of at least this similarity, each document's first: none that is removed may be elsewhere.
inline std::vector<int64_t> true_clusters(int64_t n, const std::vector<SimilarPair>& pairs, double threshold) {
  std::vector<int64_t> first;
  for (int64_t d = 0; d < n; ++d) first.push_back(d);
  for (bool changed = true; changed;) {
    changed = false;
    for (const SimilarPair& pair : pairs) {
      if (pair.similarity < threshold) continue;
      int64_t &a = first[size_t(pair.a)], &b = first[size_t(pair.b)];
      if (a != b) a = b = std::min(a, b), changed = true;
    }
  }
  return first;
}

inline void expect_as_by_comparing_all(int64_t n, uint64_t seed) {
  TempDir dir;
  const std::vector<std::string> texts = families(n, seed);
  const int64_t n_documents = int64_t(texts.size());
  write_jsonl(dir / "a.jsonl", texts);
  DataConfig config;
  config.sources = {source_of("a", dir / "a.jsonl")};
  config.near_duplicates.across = Across::all;
  ThreadPool pool(2);
  const Corpus corpus = Corpus::scan(config, kQuiet, {.pool = &pool});
  const Removal removal(corpus);
  const auto pairs = similar_pairs(texts);
  int64_t n_alike = 0, n_all = 0;
  const double alike = recall(removal, pairs, 0.85, n_alike), all = recall(removal, pairs, 0.8, n_all);
  EXPECT_GE(alike, 0.98);
  EXPECT_GT(n_alike, n_documents / 10);
  EXPECT_GT(n_all, n_alike);
  EXPECT_GE(all, config.near_duplicates.found(0.8)) << "chains find more than single pairs";
  const auto clusters = true_clusters(n_documents, pairs, config.near_duplicates.threshold);
  int64_t below = 0;
  for (const NearDuplicate& gone : corpus.near_duplicates()) below += clusters[gone.document] != clusters[gone.first];
  EXPECT_EQ(below, 0) << "removed without a chain of pairs at the threshold";
  fmt::print("{} documents: of {} pairs above 0.85 {:.4f} are together, of {} above 0.8 {:.4f}; {} removed\n",
             n_documents, n_alike, alike, n_all, all, corpus.near_duplicates().size());
}

}  // namespace hadal::data
