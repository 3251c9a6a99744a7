// See near_duplicates.h. Nothing here depends on threads: buckets are gone through one after another, documents with
// one key in corpus order.
#include "data/near_duplicates.h"

#include <algorithm>

#include "base/error.h"
#include "data/min_hash.h"

namespace hadal::data {
namespace {

constexpr int64_t kMostCompared = 1000;  // pairs of one document in one bucket that turn out not to be alike

}  // namespace

NearDuplicates::NearDuplicates(const NearDuplicatesConfig& config) : config_(config) {}

void NearDuplicates::add(int64_t document, std::span<const uint64_t> keys, uint64_t domain) {
  check(document < int64_t(UINT32_MAX), ErrorKind::unsupported,
        "near duplicates of more than {} documents are not looked for: set data.near_duplicates.across = \"off\"",
        UINT32_MAX);
  documents_.push_back(uint32_t(document));
  for (const uint64_t key : keys) keys_.push_back(key + domain * 0x9e3779b97f4a7c15ull);
}

void NearDuplicates::forget(int64_t document) {
  const auto at = std::lower_bound(documents_.begin(), documents_.end(), document);
  if (at != documents_.end() && *at == document) forgotten_.insert(uint32_t(at - documents_.begin()));
}

template <class Take>
void NearDuplicates::each_bucket(Take take) {
  std::vector<Keyed> order;
  order.reserve(documents_.size());
  for (int64_t bucket = 0; bucket < config_.buckets; ++bucket) {
    order.clear();
    for (uint32_t entry = 0; entry < documents_.size(); ++entry)
      if (!forgotten_.contains(entry)) order.push_back({key(entry, bucket), entry});
    std::sort(order.begin(), order.end());
    for (size_t begin = 0, end = 0; begin < order.size(); begin = end) {
      while (end < order.size() && order[end].key == order[begin].key) ++end;
      if (end - begin > 1) take(bucket, std::span<const Keyed>(&order[begin], end - begin));
    }
  }
}

std::vector<uint32_t> NearDuplicates::candidates() {
  std::vector<bool> shares(documents_.size());
  each_bucket([&](int64_t, std::span<const Keyed> same) {
    for (const Keyed& one : same) shares[one.entry] = true;
  });
  const auto n = std::count(shares.begin(), shares.end(), true);
  std::vector<uint32_t> documents;
  documents.reserve(size_t(n)), candidates_.reserve(size_t(n)), starts_.reserve(size_t(n) + 1);
  for (uint32_t entry = 0; entry < shares.size(); ++entry)
    if (shares[entry]) candidates_.push_back(entry), documents.push_back(documents_[entry]);
  return documents;
}

void NearDuplicates::add_groups(std::span<const uint64_t> groups) {
  starts_.push_back(scratch_.size());
  scratch_.append(groups);
}

std::vector<NearDuplicate> NearDuplicates::decide() {
  check(starts_.size() == candidates_.size(), ErrorKind::internal, "groups of {} documents of {}", starts_.size(),
        candidates_.size());
  starts_.push_back(scratch_.size());
  parents_.resize(documents_.size());
  for (uint32_t entry = 0; entry < parents_.size(); ++entry) parents_[entry] = entry;
  each_bucket([&](int64_t bucket, std::span<const Keyed> same) { compare_all(bucket, same); });
  std::vector<NearDuplicate> gone;
  for (uint32_t entry = 0; entry < parents_.size(); ++entry)
    if (const uint32_t first = root(entry); first != entry) gone.push_back({documents_[entry], documents_[first]});
  return gone;
}

// Every document with those before it, until it is alike to one of each cluster that has any: the clusters are the same
// as if every pair were compared.
void NearDuplicates::compare_all(int64_t bucket, std::span<const Keyed> same) {
  std::vector<std::vector<uint32_t>> clusters;  // of the documents so far
  for (const Keyed& one : same) {
    std::vector<uint32_t> own;
    int64_t unlike = 0;
    for (size_t c = 0; c < clusters.size() && unlike < kMostCompared;) {
      std::vector<uint32_t>& cluster = clusters[c];
      bool joined = root(cluster.front()) == root(one.entry);
      for (size_t i = 0; i < cluster.size() && !joined && unlike < kMostCompared; ++i) {
        joined = !met_before(cluster[i], one.entry, bucket) && alike(cluster[i], one.entry);
        unlike += !joined;
      }
      if (!joined) {
        ++c;
        continue;
      }
      join(cluster.front(), one.entry);
      own.insert(own.end(), cluster.begin(), cluster.end());
      cluster.swap(clusters.back());
      clusters.pop_back();
    }
    if (unlike == kMostCompared) ++n_broken_off_, broken_off_.emplace(bucket, one.key);
    own.push_back(one.entry);
    clusters.push_back(std::move(own));
  }
}

// Whether a bucket before this one held both: then they were compared, and are not alike.
bool NearDuplicates::met_before(uint32_t a, uint32_t b, int64_t bucket) const {
  for (int64_t before = 0; before < bucket; ++before)
    if (key(a, before) == key(b, before) && !broken_off_.contains({before, key(a, before)})) return true;
  return false;
}

size_t NearDuplicates::candidate(uint32_t entry) const {
  return size_t(std::lower_bound(candidates_.begin(), candidates_.end(), entry) - candidates_.begin());
}

int64_t NearDuplicates::n_groups(uint32_t entry) const {
  const size_t at = candidate(entry);
  return starts_[at + 1] - starts_[at];
}

const std::vector<uint64_t>& NearDuplicates::groups_of(uint32_t entry, int side) {
  if (held_[side] == int64_t(entry)) return sides_[side];
  const size_t at = candidate(entry);
  scratch_.read(starts_[at], starts_[at + 1] - starts_[at], sides_[side]);
  held_[side] = int64_t(entry);
  return sides_[side];
}

bool NearDuplicates::alike(uint32_t a, uint32_t b) {
  const auto [fewer, more] = std::minmax(n_groups(a), n_groups(b));
  if (double(fewer) < config_.threshold * double(more)) return false;  // whatever they are
  return jaccard(groups_of(a, 0), groups_of(b, 1)) >= config_.threshold;
}

uint32_t NearDuplicates::root(uint32_t entry) {
  while (parents_[entry] != entry) entry = parents_[entry] = parents_[parents_[entry]];
  return entry;
}

void NearDuplicates::join(uint32_t a, uint32_t b) {
  a = root(a), b = root(b);
  parents_[std::max(a, b)] = std::min(a, b);  // the first document is the one that stays
}

}  // namespace hadal::data
