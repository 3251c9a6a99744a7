// libFuzzer: the first byte chooses a format and what is trained, the others are the JSON of a line. Only Error may
// come out; the one form of a dialogue read again is itself; of its samples something is trained, their ids are in the
// vocabulary, and people's text never spells BOS.
// room: data
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json_members.h"
#include "base/thread_pool.h"
#include "data/dialogue.h"
#include "data/dialogue_samples.h"
#include "text/bpe_trainer.h"

namespace {

using namespace hadal;

Tokenizer byte_tokenizer() {
  ThreadPool pool(1);
  BpeOptions options;
  options.vocab_size = 3 + 256 + 8;
  BpeTrainer trainer(options, pool);
  trainer.add_text("x");
  return trainer.train();
}

void check_samples(const std::string& dialogue, TrainOn train_on) {
  static const Tokenizer tokenizer = byte_tokenizer();
  static const data::DialogueWriter writer(tokenizer, "");
  try {
    for (const data::DialogueSample& sample : writer.samples(dialogue, train_on)) {
      if (sample.n_trained() == 0 || sample.trained.size() != sample.ids.size()) std::abort();
      tokenizer.decode(sample.ids);
      int64_t begins = 0;
      for (const int32_t id : sample.ids) begins += id == *tokenizer.bos_id();
      if (begins > 1) std::abort();
    }
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::internal) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view line(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto format = SourceFormat(1 + data[0] % 4);
  std::string_view object;
  if (read_json_members(line, object) || object.front() != '{') return 0;
  std::string dialogue, again;
  int64_t replaced = 0;
  if (!data::read_dialogue(object, format, "text", dialogue, replaced).empty()) return 0;
  data::words_of_dialogue(dialogue);
  const bool texts = dialogue.starts_with("{\"prompt\"");
  const SourceFormat own = texts ? SourceFormat::prompt_completion : SourceFormat::messages;
  if (dialogue.find("completion_from") == std::string::npos &&
      (!data::read_dialogue(dialogue, own, "text", again, replaced).empty() || again != dialogue))
    std::abort();
  check_samples(dialogue, TrainOn(data[0] / 4 % 3));
  return 0;
}
