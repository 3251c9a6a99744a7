// See near_duplicate_search.h.
#include "data/near_duplicate_search.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "comm/byte_text.h"
#include "data/batches.h"
#include "data/rank_progress.h"
#include "data/walk.h"

namespace hadal::data {
namespace {

template <class T>
std::vector<T> numbers_in(const Message& message) {
  std::vector<T> numbers(size_t(message.bytes) / sizeof(T));
  if (!numbers.empty()) std::memcpy(numbers.data(), message.data.get(), numbers.size() * sizeof(T));
  return numbers;
}

std::vector<std::vector<uint32_t>> documents_of_all(Group& ranks, const BucketKeys& keys) {
  std::vector<uint32_t> own(keys.size());
  for (size_t at = 0; at < own.size(); ++at) own[at] = keys.document(at);
  const std::vector<ConstBytes> to(size_t(ranks.size()), std::as_bytes(std::span(own)));
  std::vector<Message> received;
  ranks.start_all_to_all(to, received).wait();
  std::vector<std::vector<uint32_t>> documents;
  for (Message& message : received) documents.push_back(numbers_in<uint32_t>(std::exchange(message, {})));
  return documents;
}

Message keys_of(const BucketKeys& keys, size_t bucket) {
  const size_t n = bucket < keys.buckets() ? keys.size() : 0;
  Message message{{}, message_memory(int64_t(n) * 8), int64_t(n * 8)};
  for (size_t at = 0; at < n; ++at) {
    const uint64_t key = keys.key(at, bucket);
    std::memcpy(message.data.get() + at * 8, &key, 8);
  }
  return message;
}

// Joins documents that share a key in the buckets of this rank: every n-th of n ranks.
void join_in_own_buckets(Group& ranks, const BucketKeys& keys, DisjointSets& sets) {
  const auto documents = documents_of_all(ranks, keys);
  size_t n = 0;
  for (const auto& of_rank : documents) n += of_rank.size();
  for (size_t first = 0; first < keys.buckets(); first += size_t(ranks.size())) {
    std::vector<Message> to, received;
    for (int rank = 0; rank < ranks.size(); ++rank) to.push_back(keys_of(keys, first + size_t(rank)));
    ranks.start_all_to_all(std::move(to), received).wait();
    if (first + size_t(ranks.rank()) >= keys.buckets()) continue;
    std::vector<Keyed> order;
    order.reserve(n);
    for (size_t rank = 0; rank < received.size(); ++rank) {
      const Message message = std::exchange(received[rank], {});
      for (size_t at = 0; at < documents[rank].size(); ++at) {
        uint64_t key = 0;
        std::memcpy(&key, message.data.get() + at * 8, 8);
        order.push_back({key, documents[rank][at]});
      }
    }
    each_key(order, [&](std::span<const Keyed> same) {
      for (const Keyed& one : same.subspan(1)) sets.join(same.front().entry, one.entry);
    });
  }
}

// What one rank joined is joined on all.
void join_on_all(Group& ranks, DisjointSets& sets) {
  if (ranks.size() == 1) return;
  ByteWriter own;
  for (uint32_t document = 0; document < sets.size(); ++document)
    if (const uint32_t first = sets.first(document); first != document) own(document), own(first);
  for (int rank = 0; rank < ranks.size(); ++rank) {
    const std::string told = ranks.tell(rank, own.text);
    if (rank == ranks.rank()) continue;
    ByteReader in(told);
    for (size_t at = 0; at < told.size() / 8; ++at) {
      uint32_t document = 0, first = 0;
      in(document), in(first);
      sets.join(first, document);
    }
  }
}

// Of each set the rank with the fewest documents so far; of one alone nobody.
std::vector<uint32_t> deal(DisjointSets& sets, int n_ranks) {
  std::vector<uint32_t> of(sets.size());
  for (uint32_t document = 0; document < of.size(); ++document) ++of[sets.first(document)];
  std::vector<int64_t> given(static_cast<size_t>(n_ranks));
  for (uint32_t document = 0; document < of.size(); ++document) {
    const uint32_t first = sets.first(document);
    if (first != document) {
      of[document] = of[first];  // decided: it is less
      continue;
    }
    const auto size = int64_t(of[document]);
    const auto least = std::min_element(given.begin(), given.end());
    if (size > 1) *least += size;
    of[document] = size > 1 ? uint32_t(least - given.begin()) : kNobody;
  }
  return of;
}

// Sends documents to the ranks that compare them, a batch at a time, so that no rank has to keep more of them. As
// words: whether more will come; then of each document its number and how many groups it has, its keys, its groups.
class Deliveries {
 public:
  Deliveries(Group& ranks, NearDuplicates& near, size_t buckets)
      : ranks_(ranks), near_(near), buckets_(buckets), to_(size_t(ranks.size()), std::vector<uint64_t>(1)) {}

  void add(uint32_t rank, const BucketKeys& keys, std::span<const uint64_t> groups) {  // the first one's
    std::vector<uint64_t>& words = to_[rank];
    words.push_back(keys.document(0) | uint64_t(groups.size()) << 32);
    for (size_t bucket = 0; bucket < buckets_; ++bucket) words.push_back(keys.key(0, bucket));
    words.insert(words.end(), groups.begin(), groups.end());
  }

  // All ranks deliver what they have; whether one has more. What stays here is not sent.
  bool exchange(bool more) {
    const auto here = size_t(ranks_.rank());
    std::vector<ConstBytes> to;
    for (std::vector<uint64_t>& words : to_) words.front() = more, to.push_back(std::as_bytes(std::span(words)));
    to[here] = {};
    std::vector<Message> received;
    ranks_.start_all_to_all(to, received).wait();
    bool any = take(to_[here]);
    for (std::vector<uint64_t>& words : to_) words.resize(1);
    for (size_t rank = 0; rank < received.size(); ++rank)
      if (rank != here) any |= take(numbers_in<uint64_t>(std::exchange(received[rank], {})));
    return any;
  }

 private:
  bool take(const std::vector<uint64_t>& words) {
    for (auto at = words.begin() + 1; at != words.end();) {
      const auto document = uint32_t(*at);
      const auto n_groups = size_t(*at >> 32);
      const std::span<const uint64_t> keys(&*at + 1, buckets_), groups(keys.data() + buckets_, n_groups);
      near_.give(document, keys, groups);
      at += int64_t(1 + buckets_ + n_groups);
    }
    return words.front() != 0;
  }

  Group& ranks_;
  NearDuplicates& near_;
  size_t buckets_;
  std::vector<std::vector<uint64_t>> to_;  // by rank
};

struct Compared {
  std::string text;
  size_t source = 0;
  std::vector<uint64_t> groups;
  int64_t bytes() const { return int64_t(text.size()); }
};

// Reads the candidates of this rank's files again. keys: theirs alone.
void deliver_candidates(Group& ranks, const SearchedCorpus& corpus, BucketKeys keys, const std::vector<uint32_t>& by,
                        NearDuplicates& near) {
  Progress progress(progress_label(ranks, "comparing"), int64_t(keys.size()),
                    {.unit = "documents", .quiet = corpus.quiet});
  Deliveries deliveries(ranks, near, keys.buckets());
  std::optional<Walk> walk;
  if (keys.size() > 0) walk.emplace(corpus.sources, corpus.config.on_bad_line, keys.document(0), corpus.sample);
  const size_t n = keys.size();
  std::deque<uint32_t> documents;  // of which the keys may be gone
  for (size_t at = 0; at < n; ++at) documents.push_back(keys.document(at));
  const auto read = [&](Compared& one) {
    if (documents.empty()) return false;
    stop_if_interrupted(kScanInterrupted);
    const int64_t document = documents.front();
    documents.pop_front();
    walk->skip_to(document);
    check(walk->next(one.text), ErrorKind::internal, "document {} is gone", document);
    walk->check_unchanged(one.text, corpus.facts[size_t(document)]);
    one.source = walk->source();
    return true;
  };
  const auto work = [&](Compared& one) {
    corpus.features.cut(one.text, one.source);
    one.groups = corpus.features.groups(one.text, one.source);
  };
  const auto take = [&](const Compared& one) {
    deliveries.add(by[keys.document(0)], keys, one.groups);
    keys.pop_front();
    progress.add(1);
  };
  in_batches<Compared>(corpus.pool, read, work, take, [&] { deliveries.exchange(true); });
  while (deliveries.exchange(false)) {
  }
  if (n > 0) progress.finish();
}

NearDuplicatesFound decided_on_all(Group& ranks, NearDuplicates& near) {
  ByteWriter own;
  own(near.decide()), own(near.n_broken_off());
  NearDuplicatesFound found;
  for (const std::string& text : ranks.exchange(own.text)) {
    ByteReader in(text);
    std::vector<NearDuplicate> gone;
    int64_t n_broken_off = 0;
    in(gone), in(n_broken_off);
    found.gone.insert(found.gone.end(), gone.begin(), gone.end());
    found.n_broken_off += n_broken_off;
  }
  std::sort(found.gone.begin(), found.gone.end(),
            [](const NearDuplicate& a, const NearDuplicate& b) { return a.document < b.document; });
  return found;
}

}  // namespace

std::vector<uint32_t> who_compares(Group& ranks, const BucketKeys& keys, int64_t n_documents) {
  DisjointSets sets(static_cast<size_t>(n_documents));
  join_in_own_buckets(ranks, keys, sets);
  join_on_all(ranks, sets);
  return deal(sets, ranks.size());
}

NearDuplicatesFound find_near_duplicates(Group& ranks, const SearchedCorpus& corpus, BucketKeys keys) {
  std::vector<uint32_t> by = who_compares(ranks, keys, int64_t(corpus.facts.size()));
  std::vector<uint32_t> here;
  bool any = false;
  for (uint32_t document = 0; document < by.size(); ++document) {
    any |= by[document] != kNobody;
    if (by[document] == uint32_t(ranks.rank())) here.push_back(document);
  }
  if (!any) return {};
  keys.renumber([&](uint32_t document) { return by[document] == kNobody ? -1 : int64_t(document); });
  NearDuplicates near(corpus.config.near_duplicates, std::move(here));
  deliver_candidates(ranks, corpus, std::move(keys), by, near);
  by = {};
  return decided_on_all(ranks, near);
}

}  // namespace hadal::data
