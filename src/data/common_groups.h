// Groups of words of evaluation items that are common in the corpus itself (GPT-3's rule, §7.3: legal phrases, names,
// beginnings of lists): groups that more than common_above documents hold show nothing, and remove none. How many hold
// a group is known when the last document was read, so documents that hold groups are suspects until then.
//   1. add() every document that holds some, in corpus order; 2. contaminated()
// Exact copies are one document; near duplicates are as many as they are. Groups of fewer than min_words words, which
// are all of a document, are never common.
// Memory: about 70 bytes of a suspect and 4 for each of its groups; a group that is common makes no more suspects, so
// of the documents that no rule refuses there are at most common_above for each group. Ranks that divide a corpus first
// keep all suspects of their shares (gather_suspects in gather_findings.h), since some may be copies of others'.
#pragma once
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "config/duplicates_config.h"
#include "data/decontaminate.h"

namespace hadal::data {

struct Suspect {
  int64_t document = 0, bytes = 0;  // bytes: before rules cut lines out of it
  size_t source = 0;
  std::string rule;       // that refuses it whatever becomes of the suspicion; it is not counted then
  bool by_ngram = false;  // of contaminated(): by a group of ngram words, not by a short item alone
};

// A suspect on its way to the others, with its groups.
struct MetSuspect {
  Suspect suspect;
  std::vector<MetGroup> met;
};

class CommonGroups {
 public:
  explicit CommonGroups(const DecontaminateConfig& config) : config_(config) {}

  void add(Suspect suspect, const std::vector<MetGroup>& met);
  // Suspects with a group that is not common, in corpus order.
  std::vector<Suspect> contaminated() const;
  std::vector<uint64_t> hashes() const;  // of the groups that are common, ascending
  // "3 groups of words are in more than 10 documents each, and remove none; most of them of ITEM", or nothing.
  std::string summary(const Decontaminator& decontaminator) const;

 private:
  struct Group {
    int64_t documents = 0;  // counted no further than above + 1
    int64_t words = 0;
    uint64_t hash = 0;
  };
  bool is_common(const Group& group) const { return group.documents > config_.common_above; }

  DecontaminateConfig config_;
  std::unordered_map<uint64_t, uint32_t> numbers_;  // by hash
  std::vector<Group> groups_;
  std::vector<Suspect> suspects_;
  std::vector<uint32_t> held_;  // groups of all suspects, those that were common already left out
  std::vector<size_t> begins_;  // of each suspect's
};

}  // namespace hadal::data
