#include "server/served_model.h"

#include <chrono>
#include <cmath>

#include "base/clock.h"
#include "base/utf8.h"
#include "server/api_error.h"
#include "text/stream_decoder.h"

namespace hadal {

ServedModel::ServedModel(const TextModel& model, std::string name, int64_t positions)
    : model_(&model), name_(std::move(name)), positions_(positions), files_(model.model.source.files) {
  using std::chrono::system_clock;
  created_ = std::chrono::duration_cast<std::chrono::seconds>(system_clock::now().time_since_epoch()).count();
  identities_.push_back(files_->identity());
  chat_ = read_chat_files(model.model.directory.string());
  if (!model.tokenizer) return;
  start_ = text_start(model);
  for (int32_t id = 0; id < model.tokenizer->vocab_size(); ++id)
    longest_token_ = std::max(longest_token_, int64_t(model.tokenizer->token_bytes(id).size()));
}

void ServedModel::check_length(const std::string& text) const {
  const int64_t least = int64_t(text.size()) / longest_token_;
  if (least > positions())
    throw ApiError(400,
                   fmt::format("this model has {} positions; a text of {} bytes is {} tokens or more", positions(),
                               text.size(), least),
                   "prompt", "context_length_exceeded");
}

const Tokenizer& ServedModel::words() const {
  if (tokenizer() == nullptr)
    throw ApiError(400, "this model has no tokenizer; give token ids instead of text, and read token_ids", "prompt");
  return *tokenizer();
}

void ServedModel::check_intact(double seconds) const {
  const double now = steady_seconds();
  if (!damaged_ && now - looked_ < seconds) return;
  looked_ = now;
  const std::lock_guard lock(mutex_);
  try {
    files_->check_intact();
  } catch (...) {
    damaged_ = true;
    throw;
  }
}

void ServedModel::watch(std::shared_ptr<const TensorFiles> files, std::string identity) {
  const std::lock_guard lock(mutex_);
  files_ = std::move(files);
  identities_.push_back(std::move(identity));
  damaged_ = false;
}

std::string ServedModel::identity(int64_t weights_version) const {
  const std::lock_guard lock(mutex_);
  return identities_.at(size_t(weights_version));
}

void ServedModel::check_name(const JsonFields& request) const {
  const auto model = request.text("model");
  if (model && *model != name_)
    throw ApiError(404, fmt::format("the model '{}' is not served here; '{}' is", model->substr(0, 100), name_),
                   "model", "model_not_found");
}

ServedPrompt ServedModel::prompt_of_text(const std::string& text, bool parse_special) const {
  check_length(text);
  ServedPrompt prompt{start_, start_.size(), text};
  words().encode_to(text, parse_special ? SpecialTokens::parse : SpecialTokens::as_text, prompt.ids);
  if (prompt.ids.empty()) refuse("prompt", "the prompt is empty, and nothing stands before this model's texts");
  return prompt;
}

ServedPrompt ServedModel::prompt_of_ids(std::vector<int32_t> ids) const {
  if (ids.empty()) refuse("prompt", "the prompt is empty; give at least one token");
  ServedPrompt prompt;
  if (tokenizer() != nullptr) {
    for (size_t i = 0; i < ids.size(); ++i) prompt.text += bytes_of(ids[i]);
  }
  prompt.ids = std::move(ids);
  return prompt;
}

ServedPrompt ServedModel::prompt_of_hole(const std::string& prefix, const std::string& suffix) const {
  check_length(prefix);
  check_length(suffix);
  ServedPrompt prompt;
  prompt.ids = fim_prompt(words(), prefix, suffix);
  prompt.text = prefix;
  return prompt;
}

std::string ServedModel::bytes_of(int32_t id) const {
  if (tokenizer() == nullptr || id >= tokenizer()->vocab_size()) return "";  // rows that pad the vocabulary
  return std::string(tokenizer()->token_bytes(id));
}

std::string ServedModel::text_of(int32_t id) const {
  if (tokenizer() == nullptr || id >= tokenizer()->vocab_size()) return fmt::format("token_id:{}", id);
  std::string bytes = bytes_of(id);
  if (utf8_valid_prefix(bytes) == int64_t(bytes.size())) return bytes;
  std::string text = "bytes:";
  for (const char c : bytes) text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return text;
}

int64_t ServedModel::room_for(int64_t prompt_tokens, const std::optional<int64_t>& asked, int64_t otherwise) const {
  const int64_t room = positions() - prompt_tokens;
  const int64_t wanted = asked.value_or(1);
  if (room < wanted || room < 0) {
    throw ApiError(
        400,
        fmt::format("there are {} positions for a text; {} tokens of the prompt and {} new ones make {}: shorten "
                    "the prompt or ask for fewer",
                    positions(), prompt_tokens, wanted, prompt_tokens + wanted),
        asked ? "max_tokens" : "prompt", "context_length_exceeded");
  }
  return asked ? *asked : std::min(room, otherwise);
}

double log_prob_of(double value) { return std::isfinite(value) ? value : -9999.0; }

}  // namespace hadal
