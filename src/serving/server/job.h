// Job: the work of one HTTP request in the engine: a choice for each prompt and answer asked for, their tokens turned
// into text as they come. It lives as long as a callback may come: the engine's requests hold it. A peer that leaves
// cancels all that is left of it.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "dialogue/stop_strings.h"
#include "engine/engine.h"
#include "grammar/grammars.h"
#include "server/api_error.h"
#include "server/http_message.h"
#include "server/metrics.h"
#include "server/receipt.h"
#include "server/served_model.h"
#include "server/settings.h"
#include "text/stream_decoder.h"

namespace hadal {

// What endpoints that generate work with.
struct ServingParts {
  const ServedModel& model;
  Engine& engine;
  Metrics& metrics;
  std::atomic<int64_t>& open_choices;  // of all jobs
  const Receipt& receipt;              // what all receipts have in common
  Grammars* grammars = nullptr;        // none for a model without tokenizer
  bool compiles = false;               // forms of answers may be compiled here, which takes seconds
  int64_t most_choices = 1024;         // more are told to come again
};

struct Choice {
  int64_t index = 0;
  size_t prompt = 0;
  std::string text;                 // so far, where the job keeps it
  std::vector<ScoredToken> tokens;  // all that were drawn, the one that ended the text included
  std::string finish;               // "stop", "length", "error", "cancelled"
  std::string error;
  int status = 500;     // of the answer, where there is an error
  EngineResult result;  // at the end; in a stream its prompt is there with the first token
  EngineRequest asked;  // where a receipt is wanted
  double last_token_seconds = 0;
};

class Job : public std::enable_shared_from_this<Job> {
 public:
  Job(const ServingParts& parts, std::shared_ptr<HttpReply> reply, std::vector<ServedPrompt> prompts,
      AnswerSettings settings);
  virtual ~Job();

  // `choices` answers to each prompt. Throws ApiError before anything runs.
  void start(int64_t choices, int64_t otherwise_tokens, bool prompt_log_probs);

 protected:
  virtual void on_begun() {}  // before anything runs; a stream has begun
  // On the engine's thread, in order for each choice. `text` is whole UTF-8, often empty; the last call has no token.
  virtual void on_text(Choice& choice, const std::string& text, const ScoredToken* token) = 0;
  virtual void on_choice_end(Choice& choice) = 0;                   // after its last text
  virtual void on_choice_restart(Choice& choice) { (void)choice; }  // all its texts are void, others come
  virtual void on_all_ended() = 0;                                  // once

  void event(const Json& json) { reply->piece("data: " + text_of_json(json) + "\n\n"); }
  static std::string text_of_json(const Json& json);
  Json usage() const;
  // What an answer follows from: in every answer the version of the weights and its seed, on request all (receipt.h).
  void sign(Json& answer, const Choice& choice) const;
  // What else it follows from, in one word: the same word, request and seed, the same answer.
  std::string fingerprint() const;
  std::optional<ApiError> failure() const;  // of the first choice that failed

  const ServingParts parts;
  const std::shared_ptr<HttpReply> reply;
  const std::vector<ServedPrompt> prompts;
  const AnswerSettings settings;
  const int64_t created;  // seconds since 1970
  std::vector<Choice> choices;

 private:
  struct Decoding;
  uint64_t seed_of(const Choice& choice) const;
  Json receipt(const Choice& choice) const;
  EngineRequest request_of(Choice& choice, int64_t max_tokens, bool prompt_log_probs);
  bool on_token(size_t at, const ScoredToken& token);
  void on_end(size_t at, const EngineResult& result);
  void on_restart(size_t at);
  void cancel();

  std::vector<std::unique_ptr<Decoding>> decodings_;
  std::mutex mutex_;
  std::vector<uint64_t> ids_;  // of the engine's requests
  std::atomic<int64_t> left_ = 0;
  bool cancelled_ = false;
  double start_seconds_ = 0;
};

}  // namespace hadal
