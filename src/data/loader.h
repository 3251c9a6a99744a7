// The loader: a deterministic, endless (or ending) stream of packed sequences.
// 1. Mixture: the next passage comes from the source with the smallest drawn tokens / weight, so that the shares of
//    TOKENS follow the weights at every moment. A source gives its documents in an order shuffled from (seed, source,
//    epoch); documents longer than a sequence are cut into parts of a sequence's length and one remainder (from the
//    second epoch on with the first part shortened by a draw from (seed, epoch, document), so that borders move).
// 2. Fill in the middle: a part becomes FIM with data.fim_rate, drawn from (seed, epoch, document, part).
// 3. Packing: passages worth pack_window sequences make a window; best fit decreasing puts them into sequences
//    (packing.h), whose order and the order inside them are shuffled from (seed, window). Where data.epochs are
//    counted, a window also ends where the first source enters a later epoch.
// A dialogue is never cut, split or filled in: its sample is one passage, or, where it is longer than a sequence, none
// (data.on_long). data.at_end = "stop" gives every document data.epochs times.
// The stream depends on shards, tokenizer and DataConfig alone: not on batch sizes, threads or ranks.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "data/batch.h"
#include "data/cursor.h"
#include "data/shards.h"
#include "text/tokenizer.h"

namespace hadal::data {

class PassageSource;

class Loader {
 public:
  // Both must outlive the loader. Throws invalid if the tokenizer does not fit the shards or lacks tokens that are
  // needed, if dialogues would see each other, or are too long and may not be dropped.
  Loader(const Shards& shards, const Tokenizer& tokenizer, const DataConfig& config, double split_fused = 0);
  ~Loader();
  Loader(Loader&&) noexcept;
  Loader& operator=(Loader&&) noexcept;

  Batch next(int64_t n_sequences);  // fewer, in the end none, only with at_end = stop
  void skip(int64_t n_sequences);
  bool finished();  // at_end = stop and no sequence is left
  Cursor cursor() const;
  void seek(const Cursor& cursor);

  int64_t n_sources() const;
  const std::vector<double>& weights() const;  // of the mixture, sum 1; 0 for a source without training text
  const std::string& identity() const;
  int64_t n_sequences() const;  // of the whole stream, with at_end = stop; draws it once, apart from this loader
  std::vector<std::string> notes() const;  // of each source that drops dialogues: how many, and why
  double epochs(int64_t source) const;     // passes over a source so far (windows drawn ahead included)
  void on_message(std::function<void(const std::string&)> say);  // "source X: epoch 2 begins", "source X is used up"

 private:
  struct State;
  static void check_dialogues(const State& state);
  static PassageSource source_at(const State& state, int64_t source);
  std::unique_ptr<State> state_;
};

// Shares of training tokens: positive weights are shares; sources with weight 0 divide what is left of 1 by their sizes
// (all of it when no weight is given). Sources without tokens get 0. Throws invalid if nothing is left for weight 0.
std::vector<double> mixture_weights(const std::vector<double>& weights, const std::vector<int64_t>& tokens);

}  // namespace hadal::data
