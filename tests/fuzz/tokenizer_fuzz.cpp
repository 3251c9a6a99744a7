// libFuzzer target of the tokenizer: bytes that start with '{' are read as tokenizer.json (an Error is fine, anything
// else that is thrown or a crash is not); other bytes must survive encode -> decode, whole and streamed.
// room: text
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "text/bpe_trainer.h"
#include "text/stream_decoder.h"
#include "text/text_kinds.h"

namespace {

const hadal::Tokenizer& small_tokenizer() {
  static const hadal::Tokenizer tokenizer = [] {
    hadal::ThreadPool pool(1);
    hadal::BpeOptions options;
    options.vocab_size = 500;
    hadal::BpeTrainer trainer(options, pool);
    for (const hadal::TextSample& sample : hadal::text_samples()) trainer.add_text(sample.text);
    return trainer.train();
  }();
  return tokenizer;
}

void round_trip(const hadal::Tokenizer& tokenizer, std::string_view bytes) {
  for (const auto special : {hadal::SpecialTokens::as_text, hadal::SpecialTokens::parse}) {
    const std::vector<int32_t> ids = tokenizer.encode(bytes, special);
    hadal::StreamDecoder stream(tokenizer);
    std::string streamed;
    for (int32_t id : ids) streamed += stream.push(id);
    streamed += stream.finish();
    if (tokenizer.decode(ids) != bytes || streamed != bytes) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  round_trip(small_tokenizer(), bytes);
  if (!bytes.starts_with('{')) return 0;
  try {
    const hadal::Tokenizer tokenizer = hadal::Tokenizer::from_json_text(std::string(bytes));
    round_trip(tokenizer, bytes.substr(0, 4096));
  } catch (const hadal::Error&) {
  }
  return 0;
}
