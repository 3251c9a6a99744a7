// The search for near duplicates, divided among ranks:
//   1. buckets: each rank sorts the keys of some of them, of all documents; documents that share a key belong together
//   2. documents that belong together, over any number of steps, are compared by one rank (near_duplicates.h); such
//      sets are dealt out so that each rank has about as many documents
//   3. each rank reads the candidates of its own files once more and sends keys and groups of words to that rank
// What comes of it does not depend on how many ranks there are. One rank goes the same way and sends to itself.
#pragma once
#include <cstdint>
#include <deque>
#include <vector>

#include "base/thread_pool.h"
#include "comm/group.h"
#include "data/bucket_keys.h"
#include "data/corpus.h"
#include "data/features.h"
#include "data/near_duplicates.h"

namespace hadal::data {

constexpr uint32_t kNobody = UINT32_MAX;

// Which rank compares each of n_documents; kNobody: it shares no bucket with another. The same on every rank.
// keys: of this rank's documents, under their corpus-wide numbers.
std::vector<uint32_t> who_compares(Group& ranks, const BucketKeys& keys, int64_t n_documents);

struct SearchedCorpus {
  const DataConfig& config;
  const FeatureMaker& features;
  const std::vector<SourceFiles>& sources;
  const std::deque<DocumentFacts>& facts;
  double sample = 1;
  ThreadPool* pool = nullptr;
  bool quiet = false;
};

struct NearDuplicatesFound {
  std::vector<NearDuplicate> gone;  // by document
  int64_t n_broken_off = 0;         // NearDuplicates::n_broken_off() of all ranks
};

// The same on every rank. Throws corrupt where a file changed since it was read.
NearDuplicatesFound find_near_duplicates(Group& ranks, const SearchedCorpus& corpus, BucketKeys keys);

}  // namespace hadal::data
