// ServedModel: the model behind the server with its words: names, prompts, texts of tokens. Shared by all requests and
// changed by none; where weights are exchanged (weight_updates.h), words, names and settings stay.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "dialogue/prompt.h"
#include "dialogue/text_model.h"
#include "server/json_fields.h"
#include "server/settings.h"

namespace hadal {

// What a generation goes on from.
struct ServedPrompt {
  std::vector<int32_t> ids;
  size_t n_unwritten = 0;  // leading ids that stand for no text of the request: BOS
  std::string text;        // what echo repeats
};

class ServedModel {
 public:
  // positions: of the longest text that the engine has room for.
  ServedModel(const TextModel& model, std::string name, int64_t positions);

  const TextModel& text_model() const { return *model_; }
  const Tokenizer* tokenizer() const { return model_->tokenizer ? &*model_->tokenizer : nullptr; }
  const Tokenizer& words() const;  // throws ApiError for a model of ids alone
  const std::string& name() const { return name_; }
  int64_t created() const { return created_; }
  int64_t positions() const { return positions_; }
  int64_t vocabulary() const { return model_->model.transformer->config().vocab_size; }
  bool has_chat() const { return !chat_.templates.empty() && model_->tokenizer; }
  const ChatFiles& chat_files() const { return chat_; }
  SettingsLimits limits() const { return {vocabulary(), positions()}; }

  // Throws corrupt, naming it, once a file changed under the mapped weights. Looks again where the last look is longer
  // ago than so many seconds: what was computed before a look that finds nothing was computed from the whole model.
  // watch(): from now on those of these files are served.
  void check_intact(double seconds = 0) const;
  void watch(std::shared_ptr<const TensorFiles> files, std::string identity);
  // Of the weights of each version (TensorFiles::identity), as receipts have it.
  std::string identity(int64_t weights_version) const;
  // Refuses another model's name with 404.
  void check_name(const JsonFields& request) const;

  ServedPrompt prompt_of_text(const std::string& text, bool parse_special) const;
  ServedPrompt prompt_of_ids(std::vector<int32_t> ids) const;
  ServedPrompt prompt_of_hole(const std::string& prefix, const std::string& suffix) const;

  // Of a token: its bytes; its text, and where that is no UTF-8 "bytes:\xe2\x82"; without a tokenizer "token_id:7".
  std::string bytes_of(int32_t id) const;
  std::string text_of(int32_t id) const;

  // Refuses a text that no tokenizer could make short enough, before it is tokenised.
  void check_length(const std::string& text) const;
  // How many tokens an answer may have: as asked, else `otherwise`, as far as positions go (all: no limit of its own).
  // Throws ApiError, context_length_exceeded.
  int64_t room_for(int64_t prompt_tokens, const std::optional<int64_t>& asked, int64_t otherwise) const;

 private:
  const TextModel* model_;
  std::string name_;
  int64_t positions_ = 0;
  int64_t created_ = 0;
  ChatFiles chat_;
  std::vector<int32_t> start_;  // before a text
  int64_t longest_token_ = 1;   // bytes
  mutable std::atomic<double> looked_ = 0;
  mutable std::atomic<bool> damaged_ = false;
  mutable std::mutex mutex_;  // of what follows
  std::shared_ptr<const TensorFiles> files_;
  std::vector<std::string> identities_;  // by version
};

// Of a log-probability: JSON has no infinity.
double log_prob_of(double value);

}  // namespace hadal
