// One source as a stream of passages: documents in the shuffled order of an epoch, long ones in parts, some filled in
// the middle. Everything that is drawn is a function of (seed, source, epoch, document, part).
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
  uint64_t seed = 0;
  int32_t bos = -1;   // -1: none is put
  FimTokens special;  // eos always set, the others when fim_rate > 0
};

struct DrawnPassage {
  std::vector<int32_t> tokens;
  int32_t continuation = -1;  // the token that follows in the document, where the passage does not end with EOS
  Passage about;
};

class PassageSource {
 public:
  PassageSource(const PassageRules& rules, int64_t source) : rules_(&rules), source_(source) {}

  // False when the source is used up (at_end = stop). say may be empty.
  bool next(DrawnPassage& passage, const std::function<void(const std::string&)>& say);
  const SourceCursor& cursor() const { return cursor_; }
  void seek(const SourceCursor& cursor);  // throws corrupt if no such place exists
  double epochs() const;

 private:
  bool begin_document(const std::function<void(const std::string&)>& say);
  void load_order();
  void load_document();
  int64_t part_length(bool fim) const;
  int64_t at_border(int64_t wanted, int64_t most) const;
  bool draws_fim() const;
  uint64_t key(const char* use, uint64_t number) const;
  int64_t n_documents() const { return rules_->shards->n_documents(Split::training, source_); }
  int64_t document() const { return order_[size_t(cursor_.position)]; }

  const PassageRules* rules_;
  int64_t source_;
  SourceCursor cursor_;
  std::vector<int64_t> order_;
  int64_t order_epoch_ = -1;
  std::vector<int32_t> tokens_;  // of the document at the cursor
  int64_t loaded_epoch_ = -1, loaded_position_ = -1;
};

}  // namespace hadal::data
