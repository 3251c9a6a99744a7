// One source as a stream of passages: documents in the shuffled order of an epoch, long ones in parts, some filled in
// the middle. Everything that is drawn is a function of (seed, source, epoch, document, part). A document that counts
// as long (LongDocuments) comes floor(weight) times in an epoch, and once more with the probability of what is left.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/batch.h"
#include "data/cursor.h"
#include "data/fim.h"
#include "data/shards.h"
#include "text/tokenizer.h"

namespace hadal::data {

// What all sources share; set once.
struct PassageRules {
  const Shards* shards = nullptr;
  const Tokenizer* tokenizer = nullptr;
  int64_t sequence_length = 0;
  double fim_rate = 0, split_fused = 0;
  bool stop_at_end = false;
  int64_t epochs = 1;  // before it stops
  uint64_t seed = 0;
  int32_t bos = -1;   // -1: none is put
  FimTokens special;  // eos always set, the others when fim_rate > 0
};

// Of one source: how often documents of at least so many tokens come.
struct LongDocuments {
  int64_t tokens = 0;  // 0: none counts as long
  double weight = 1;
};

struct DrawnPassage {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> trained;  // of a dialogue: which of them are targets
  int32_t continuation = -1;     // the token that follows in the document, where the passage does not end with EOS
  Passage about;
};

class PassageSource {
 public:
  PassageSource(const PassageRules& rules, int64_t source, const LongDocuments& long_documents = {});

  // False when the source is used up (at_end = stop). say may be empty.
  bool next(DrawnPassage& passage, const std::function<void(const std::string&)>& say);
  const SourceCursor& cursor() const { return cursor_; }
  bool ends_epoch() const { return !cursor_.finished && cursor_.position == n_in_epoch(); }  // the next begins another
  void seek(const SourceCursor& cursor);  // throws corrupt if no such place exists
  double epochs() const;
  // Of dialogues those that fit a sequence are given, the others never.
  int64_t n_tokens() const { return n_tokens_; }  // of what is given in an epoch on average, as stored
  int64_t n_dropped() const { return of_dialogues_ ? n_stored() - n_documents() : 0; }
  int64_t longest_dropped() const { return longest_dropped_; }

 private:
  void choose_fitting();
  void give_sample(DrawnPassage& passage);
  bool begin_document(const std::function<void(const std::string&)>& say);
  void load_order();
  void load_document();
  int64_t part_length(bool fim) const;
  int64_t at_border(int64_t wanted, int64_t most) const;
  bool draws_fim() const;
  uint64_t key(const char* use, uint64_t number) const;
  int64_t n_stored() const { return rules_->shards->n_documents(Split::training, source_); }
  int64_t n_documents() const { return of_dialogues_ ? int64_t(fitting_.size()) : n_stored(); }
  int64_t length_of(int64_t document) const {
    return int64_t(rules_->shards->document(Split::training, source_, document).n_tokens);
  }
  bool weighs_long() const { return !of_dialogues_ && long_.tokens > 0 && long_.weight != 1; }
  int64_t times(int64_t document) const;  // in the epoch at hand
  int64_t n_in_epoch() const { return weighs_long() ? int64_t(order_.size()) : n_documents(); }
  int64_t document() const { return order_[size_t(cursor_.position)]; }

  const PassageRules* rules_;
  int64_t source_;
  LongDocuments long_;
  bool of_dialogues_ = false;
  std::vector<int64_t> fitting_;  // of dialogues: the documents that fit
  int64_t n_tokens_ = 0, longest_dropped_ = 0;
  SourceCursor cursor_;
  std::vector<int64_t> order_;
  int64_t order_epoch_ = -1;
  std::vector<int32_t> tokens_;  // of the document at the cursor
  int64_t loaded_epoch_ = -1, loaded_position_ = -1;
};

}  // namespace hadal::data
