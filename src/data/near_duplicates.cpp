// See near_duplicates.h. Nothing here depends on threads: buckets are gone through one after another, documents with
// one key in corpus order.
#include "data/near_duplicates.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "data/min_hash.h"

namespace hadal::data {
namespace {

constexpr int64_t kMostCompared = 1000;  // pairs of one document in one bucket that turn out not to be alike

}  // namespace

NearDuplicates::NearDuplicates(const NearDuplicatesConfig& config, std::vector<uint32_t> documents)
    : config_(config), documents_(std::move(documents)), given_(documents_.size(), UINT32_MAX), starts_{0} {}

void NearDuplicates::give(uint32_t document, std::span<const uint64_t> keys, std::span<const uint64_t> groups) {
  auto at = size_t(std::lower_bound(documents_.begin(), documents_.end(), document) - documents_.begin());
  check(at < documents_.size() && documents_[at] == document && given_[at] == UINT32_MAX, ErrorKind::internal,
        "document {} is not to be compared, or was given before", document);
  given_[at] = uint32_t(starts_.size() - 1);
  keys_.insert(keys_.end(), keys.begin(), keys.end());
  scratch_.append(groups);
  starts_.push_back(scratch_.size());
}

std::vector<NearDuplicate> NearDuplicates::decide() {
  check(starts_.size() == documents_.size() + 1, ErrorKind::internal, "groups of {} documents of {}",
        starts_.size() - 1, documents_.size());
  clusters_ = DisjointSets(documents_.size());
  std::vector<Keyed> order(documents_.size());
  for (int64_t bucket = 0; bucket < config_.buckets; ++bucket) {
    for (uint32_t entry = 0; entry < order.size(); ++entry) order[entry] = {key(entry, bucket), entry};
    each_key(order, [&](std::span<const Keyed> same) { compare_all(bucket, same); });
  }
  std::vector<NearDuplicate> gone;
  for (uint32_t entry = 0; entry < documents_.size(); ++entry)
    if (const uint32_t first = clusters_.first(entry); first != entry)
      gone.push_back({documents_[entry], documents_[first]});
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
      bool joined = clusters_.first(cluster.front()) == clusters_.first(one.entry);
      for (size_t i = 0; i < cluster.size() && !joined && unlike < kMostCompared; ++i) {
        joined = !met_before(cluster[i], one.entry, bucket) && alike(cluster[i], one.entry);
        unlike += !joined;
      }
      if (!joined) {
        ++c;
        continue;
      }
      clusters_.join(cluster.front(), one.entry);
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

const std::vector<uint64_t>& NearDuplicates::groups_of(uint32_t entry, int side) {
  if (held_[side] == int64_t(entry)) return sides_[side];
  scratch_.read(starts_[given_[entry]], n_groups(entry), sides_[side]);
  held_[side] = int64_t(entry);
  return sides_[side];
}

bool NearDuplicates::alike(uint32_t a, uint32_t b) {
  const auto [fewer, more] = std::minmax(n_groups(a), n_groups(b));
  if (double(fewer) < config_.threshold * double(more)) return false;  // whatever they are
  return jaccard(groups_of(a, 0), groups_of(b, 1)) >= config_.threshold;
}

}  // namespace hadal::data
