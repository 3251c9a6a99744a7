// Asks a model what tasks want to know: log-likelihoods of continuations, of whole texts, and generations, all items at
// once on one engine. Replies depend on the model, the request and the seed alone: not on batch, order, cache or
// threads.
//
// Context and continuation are encoded together, then cut where the context alone ends (a token that spans the border
// counts to the context); blanks at the end of a context belong to its continuation. The requests of an item begin when
// the prompt of its first one has been read, so that they find its blocks in the cache.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "dialogue/text_model.h"
#include "eval/task.h"

namespace hadal::eval {

// A chat and what follows it as ids. Where its last turn is an assistant's, the model goes on with it.
using ChatForm = std::function<std::vector<int32_t>(const std::vector<ChatTurn>& chat, const std::string& behind)>;

// What is asked. Everything must outlive the asking.
struct AskedModel {
  const Exec& exec;
  const Transformer& transformer;
  const Tokenizer& tokenizer;
  std::vector<int32_t> start;  // before a text
  int32_t empty_context = 0;   // before the first token of a text that nothing else stands before
  std::vector<int32_t> stop;   // ids that end a text
  ChatForm chat;               // empty where the model has none
};

struct AskOptions {
  int64_t samples = 1;   // replies to each generation
  uint64_t seed = 0;     // of their draws, with the item and the sample
  int64_t running = 64;  // requests under way at a time
  bool quiet = true;     // no progress
  std::string label = "evaluating";
};

// What it took, for notes.
struct AskReport {
  int64_t cut = 0;  // contexts that were longer than the model's positions and lost their beginning
  int64_t prompt_tokens = 0, cached_tokens = 0, written_tokens = 0;
};

// Of each item, of each of its requests: the replies. Throws invalid, naming the item, for what can never be asked, and
// io when interrupted.
std::vector<std::vector<Replies>> ask(const AskedModel& model, const std::vector<Item>& items,
                                      const AskOptions& options, AskReport& report);

// Context and continuation as ids. n_context: how many of them are the context's.
struct EncodedPair {
  std::vector<int32_t> ids;
  int64_t n_context = 0;
};
EncodedPair encode_pair(const AskedModel& model, const Request& request);

// Windows over a text's tokens in which each is scored once, at most `positions` inputs each: `before` and the first
// tokens; then so many more, the last window with as many tokens in front of those that it scores as fit.
struct RollingWindow {
  std::vector<int32_t> tokens;  // inputs and the last one's target
  int64_t scored = 1;           // the first of them that counts
};
std::vector<RollingWindow> rolling_windows(const std::vector<int32_t>& tokens, int32_t before, int64_t positions);

}  // namespace hadal::eval
