// From a dialogue to what is trained on: token ids, and which of them are targets.
//
// The chat template is the tokenizer's own (data.chat_template may name another), else DeepSeek-V3's. Text that people
// wrote never becomes a control token; <think> and </think> of a trained answer do. Trained are the tokens of answers
// and what ends them (EOS), never those that name a role, a user's or a tool's. An answer stands where
//   {% generation %} of the template says, without what the model would be given there as its prompt; or else
//   from where the prompt for it ends (the messages before it, with the generation prompt) to where the messages up to
//   it end. Then the prompt has to be the beginning of the whole, byte for byte, and the ids of either beginning those
//   of the whole: a dialogue of which this is not so is refused.
// One sample is made of a dialogue, if every answer is written in it as it would be if it were the last; else (under
// templates that drop thoughts from earlier answers) one of each trained answer, ending there.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "text/tokenizer.h"

namespace hadal::data {

struct DialogueSample {
  std::vector<int32_t> ids;      // with BOS, as the template writes it, and EOS
  std::vector<uint8_t> trained;  // as many: whether the token is a target
  int64_t n_answers = 0;
  int64_t trained_bytes = 0;  // of text in trained tokens
  int64_t n_trained() const;
};

class DialogueWriter {
 public:
  // `chat_template`: a name among the tokenizer's templates, or a file; empty: as above. The tokenizer must outlive it.
  // Throws not_found, corrupt, or invalid for a tokenizer without the tokens that V3's template needs.
  DialogueWriter(const Tokenizer& tokenizer, const std::string& chat_template, bool add_bos = false);
  ~DialogueWriter();

  // May be called from any number of threads at once. Throws invalid, saying why nothing can be learned from it.
  std::vector<DialogueSample> samples(const std::string& dialogue, TrainOn train_on) const;

  std::string hash() const;         // SHA-256 of the template, 64 digits
  std::string description() const;  // "'DIR/chat_template.jinja'", "DeepSeek-V3's"

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Whether any source holds dialogues; and what they are written with, null where there are none.
bool has_dialogues(const DataConfig& config);
std::unique_ptr<DialogueWriter> dialogue_writer(const Tokenizer& tokenizer, const DataConfig& config);

// The tokenizer with the template that dialogues are written with as its own, so that a model is talked to as it was
// trained; as it is where there are no dialogues, or it has one and no file is named.
Tokenizer with_chat_template(Tokenizer tokenizer, const DataConfig& config);

}  // namespace hadal::data
