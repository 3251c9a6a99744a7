// See passage_source.h.
#include "data/passage_source.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/random.h"

namespace hadal::data {

PassageSource::PassageSource(const PassageRules& rules, int64_t source, const LongDocuments& long_documents)
    : rules_(&rules), source_(source), long_(long_documents), of_dialogues_(rules.shards->of_dialogues(source)) {
  n_tokens_ = rules.shards->n_tokens(Split::training, source);
  if (of_dialogues_) choose_fitting();
  if (!weighs_long()) return;
  double of_long = 0;
  for (int64_t d = 0; d < n_stored(); ++d)
    if (length_of(d) >= long_.tokens) of_long += double(length_of(d));
  n_tokens_ += int64_t((long_.weight - 1) * of_long);
  load_order();
}

void PassageSource::choose_fitting() {
  n_tokens_ = 0;
  for (int64_t d = 0; d < n_stored(); ++d) {
    const int64_t length = length_of(d);
    if (length > rules_->sequence_length) {
      longest_dropped_ = std::max(longest_dropped_, length);
      continue;
    }
    fitting_.push_back(d);
    n_tokens_ += length;
  }
}

// A stream of random numbers for one use in the document at hand (or, with document-free uses, in the epoch).
uint64_t PassageSource::key(const char* use, uint64_t number) const {
  return stream_id(use, stream_id("data.place", uint64_t(source_), uint64_t(cursor_.epoch)), number);
}

int64_t PassageSource::times(int64_t document) const {
  if (length_of(document) < long_.tokens) return 1;
  const double whole = std::floor(long_.weight);
  return int64_t(whole) +
         (random_uniform(rules_->seed, key("data.long", uint64_t(document)), 0) < long_.weight - whole ? 1 : 0);
}

void PassageSource::load_order() {
  if (order_epoch_ == cursor_.epoch) return;
  if (of_dialogues_) {
    order_ = fitting_;
  } else if (weighs_long()) {
    order_.clear();
    for (int64_t d = 0; d < n_documents(); ++d) order_.insert(order_.end(), size_t(times(d)), d);
  } else {
    order_.resize(size_t(n_documents()));
    std::iota(order_.begin(), order_.end(), int64_t(0));
  }
  random_shuffle(order_, rules_->seed, key("data.shuffle", 0));
  order_epoch_ = cursor_.epoch;
}

void PassageSource::load_document() {
  if (loaded_epoch_ == cursor_.epoch && loaded_position_ == cursor_.position) return;
  rules_->shards->tokens(Split::training, source_, document(), tokens_);
  if (rules_->split_fused > 0 && !of_dialogues_) {
    tokens_ = split_fused_tokens(*rules_->tokenizer, tokens_, rules_->split_fused, rules_->seed,
                                 key("data.fused", uint64_t(document())));
  }
  loaded_epoch_ = cursor_.epoch, loaded_position_ = cursor_.position;
}

bool PassageSource::begin_document(const std::function<void(const std::string&)>& say) {
  if (cursor_.finished) return false;
  while (cursor_.position == n_in_epoch()) {  // an epoch may be empty, where few are given on average
    const std::string& name = rules_->shards->source_name(source_);
    if (rules_->stop_at_end && cursor_.epoch + 1 >= rules_->epochs) {
      cursor_.finished = true;
      if (say) say(fmt::format("source '{}' is used up", name));
      return false;
    }
    ++cursor_.epoch;
    cursor_.position = 0;
    if (weighs_long()) load_order();
    if (say) say(fmt::format("source '{}' begins epoch {}", name, cursor_.epoch + 1));
  }
  load_order();
  load_document();
  return true;
}

bool PassageSource::draws_fim() const {
  if (rules_->fim_rate <= 0) return false;
  // What fits as it is must not be cut for the sake of the special tokens.
  const int64_t room = rules_->sequence_length - (cursor_.token == 0 && rules_->bos >= 0);
  const int64_t left = int64_t(tokens_.size()) - cursor_.token;
  if (left < room && left + kFimExtraTokens > room) return false;
  return random_uniform(rules_->seed, key("data.fim", uint64_t(document())), uint64_t(cursor_.part)) < rules_->fim_rate;
}

// Tokens of the document that the next part takes.
int64_t PassageSource::part_length(bool fim) const {
  const int64_t n = int64_t(tokens_.size()), left = n - cursor_.token;
  const int64_t bos = cursor_.token == 0 && rules_->bos >= 0 ? 1 : 0;
  int64_t room = rules_->sequence_length - bos - (fim ? kFimExtraTokens : 0);
  const bool fits = fim ? left <= room : left < room;  // with EOS; a FIM part's EOS is among its extra tokens
  if (fits && cursor_.part == 0) return left;
  if (fim && !fits) room -= std::min(kFimSpareTokens, room / 4);
  int64_t wanted = room;
  if (cursor_.part == 0 && cursor_.epoch > 0 && n + 1 + bos > rules_->sequence_length) {
    // Other borders than in the epoch before.
    wanted = 1 + int64_t(random_below(rules_->seed, key("data.cut", uint64_t(document())), 0, uint64_t(room)));
  }
  return at_border(std::min(left, wanted), std::min(left, room));
}

// A number of tokens near `wanted` (before it, else behind it, at most `most`) after which a character begins. A
// character has at most four tokens; where bytes are no text and none is found, `wanted` it is.
int64_t PassageSource::at_border(int64_t wanted, int64_t most) const {
  auto border = [&](int64_t take) {
    const int64_t next = cursor_.token + take;
    if (next == int64_t(tokens_.size())) return true;
    const std::string_view bytes = rules_->tokenizer->token_bytes(tokens_[size_t(next)]);
    return bytes.empty() || (bytes[0] & 0xC0) != 0x80;
  };
  for (int64_t take = wanted; take > std::max<int64_t>(0, wanted - 4); --take)
    if (border(take)) return take;
  for (int64_t take = wanted + 1; take <= std::min(most, wanted + 3); ++take)
    if (border(take)) return take;
  return wanted;
}

void PassageSource::give_sample(DrawnPassage& passage) {
  const int64_t n = int64_t(tokens_.size());
  passage = {};
  passage.tokens = tokens_;
  rules_->shards->trained(Split::training, source_, document(), passage.trained);
  passage.about = {.length = n, .source = source_, .document = document(), .epoch = cursor_.epoch, .n_tokens = n};
  passage.about.dialogue = true;
  cursor_.drawn += n;
  ++cursor_.position;
}

bool PassageSource::next(DrawnPassage& passage, const std::function<void(const std::string&)>& say) {
  if (!begin_document(say)) return false;
  if (of_dialogues_) return give_sample(passage), true;
  const bool fim = draws_fim();
  const int64_t n = int64_t(tokens_.size()), take = part_length(fim);
  const std::span<const int32_t> part(tokens_.data() + cursor_.token, size_t(take));
  const bool ends = cursor_.token + take == n;
  passage = {};
  passage.about = {.source = source_,
                   .document = document(),
                   .epoch = cursor_.epoch,
                   .index = cursor_.part,
                   .first_token = cursor_.token,
                   .n_tokens = take,
                   .begins = cursor_.token == 0,
                   .ends = ends};
  const bool bos = passage.about.begins && rules_->bos >= 0;
  if (bos) passage.tokens.push_back(rules_->bos);
  std::optional<FimPassage> filled;
  if (fim) {
    const RandomStream random{rules_->seed,
                              key("data.middle", stream_id("part", uint64_t(document()), uint64_t(cursor_.part)))};
    filled = make_fim(*rules_->tokenizer, rules_->special, part, rules_->sequence_length - bos, random);
  }
  if (filled) {
    passage.tokens.insert(passage.tokens.end(), filled->tokens.begin(), filled->tokens.end());
    passage.about.fim = true;
    passage.about.prefix = filled->prefix, passage.about.suffix = filled->suffix, passage.about.middle = filled->middle;
  } else {
    passage.tokens.insert(passage.tokens.end(), part.begin(), part.end());
    const int32_t after = ends ? rules_->special.eos : tokens_[size_t(cursor_.token + take)];
    const bool room = int64_t(passage.tokens.size()) < rules_->sequence_length;
    ends&& room ? passage.tokens.push_back(after) : void(passage.continuation = after);
  }
  passage.about.length = int64_t(passage.tokens.size());
  cursor_.drawn += passage.about.length;
  cursor_.token += take, ++cursor_.part;
  if (ends) ++cursor_.position, cursor_.token = cursor_.part = 0;
  return true;
}

void PassageSource::seek(const SourceCursor& cursor) {
  const SourceCursor& c = cursor;
  bool fine = c.epoch >= 0 && c.position >= 0 && c.token >= 0 && c.part >= 0 && c.drawn >= 0;
  cursor_ = cursor;
  loaded_epoch_ = loaded_position_ = -1;
  if (fine && weighs_long()) load_order();
  fine = fine && c.position <= n_in_epoch();
  if (fine && c.position < n_in_epoch()) {
    load_order();
    load_document();
    fine = c.token == 0 || c.token < int64_t(tokens_.size());
  } else {
    fine = fine && c.token == 0;
  }
  check(fine, ErrorKind::corrupt, "the data cursor points beyond source '{}' (document {}, token {})",
        rules_->shards->source_name(source_), c.position, c.token);
}

double PassageSource::epochs() const {
  const int64_t n = n_in_epoch();
  if (n == 0) return double(cursor_.epoch);
  double place = double(cursor_.position);
  if (cursor_.token > 0) place += double(cursor_.token) / double(tokens_.size());
  return double(cursor_.epoch) + place / double(n);
}

}  // namespace hadal::data
