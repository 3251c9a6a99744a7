// libFuzzer target of the tokenizer: bytes that start with '{' are read as tokenizer.json and, behind a zero byte, as
// tokenizer_config.json; behind an 'R' as lines of tiktoken.model that follow those of the 256 bytes (an Error is fine,
// anything else that is thrown or a crash is not); all bytes must survive encode -> decode, whole and streamed.
// room: text
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "text/bpe_trainer.h"
#include "text/stream_decoder.h"
#include "text/text_kinds.h"
#include "text/tokenizer_files.h"

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

// Parsed added tokens with these flags swallow white space.
bool strips(const hadal::Tokenizer& tokenizer) {
  for (const hadal::AddedToken& token : tokenizer.added_tokens()) {
    if (token.lstrip || token.rstrip) return true;
  }
  return false;
}

void round_trip(const hadal::Tokenizer& tokenizer, std::string_view bytes) {
  for (const auto special : {hadal::SpecialTokens::as_text, hadal::SpecialTokens::parse}) {
    const std::vector<int32_t> ids = tokenizer.encode(bytes, special);
    hadal::StreamDecoder stream(tokenizer);
    std::string streamed;
    for (int32_t id : ids) streamed += stream.push(id);
    streamed += stream.finish();
    if (tokenizer.decode(ids) != streamed) std::abort();
    if (streamed != bytes && !(special == hadal::SpecialTokens::parse && strips(tokenizer))) std::abort();
  }
}

// Lines of tiktoken.model behind those of the bytes, then, behind a zero byte, tokenizer_config.json.
void read_ranks(std::string_view bytes) {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string ranks;
  for (size_t b = 0; b < 256; ++b)
    ranks += std::string{kDigits[b >> 2], kDigits[(b & 3) << 4]} + "== " + std::to_string(b) + "\n";
  const size_t zero = bytes.find('\0');
  hadal::TokenizerFiles files;
  files.tiktoken = ranks + std::string(bytes.substr(0, zero));
  files.config = zero == std::string_view::npos ? "{}" : std::string(bytes.substr(zero + 1));
  try {
    round_trip(hadal::Tokenizer::from_files(std::move(files)), bytes.substr(0, 4096));
  } catch (const hadal::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  round_trip(small_tokenizer(), bytes);
  if (bytes.starts_with('R')) read_ranks(bytes.substr(1));
  if (!bytes.starts_with('{')) return 0;
  try {
    const size_t zero = bytes.find('\0');
    const std::string config(zero == std::string_view::npos ? "" : bytes.substr(zero + 1));
    const hadal::Tokenizer tokenizer = hadal::Tokenizer::from_json_text(std::string(bytes.substr(0, zero)), config);
    round_trip(tokenizer, bytes.substr(0, 4096));
  } catch (const hadal::Error&) {
  }
  return 0;
}
