// libFuzzer: bytes up to the first zero are a chat template, those behind it the messages as JSON. Only Error may come
// out, at most a part of a second later; two renderings are equal; no text of a message comes out as a fragment of the
// template.
// room: jinja
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "jinja/chat_template.h"

namespace {

using namespace hadal;

constexpr std::string_view kMark = "\xee\x84\xa3";  // a character of private use; only the messages below hold it
const char* const kMessages =
    R"([{"role": "system", "content": "\ue123be\ue123"}, {"role": "user", "content": " a <|b|> \ue123\n"},
  {"role": "assistant", "content": "\ue123",
   "tool_calls": [{"type": "function", "function": {"name": "\ue123f", "arguments": {"\ue123": [1, 2.5, null]}}}]},
  {"role": "tool", "content": "\ue123[]"}])";

ChatLimits small_limits() {
  ChatLimits limits;
  limits.steps = 20'000, limits.text_bytes = 1 << 16, limits.work_bytes = 1 << 20;
  return limits;
}

void check_fragments(const std::vector<ChatFragment>& fragments, bool may_hold_mark) {
  const ChatFragment* before = nullptr;
  for (const ChatFragment& fragment : fragments) {
    const bool same = before && fragment.from_template == before->from_template &&
                      fragment.generated == before->generated;
    if (fragment.text.empty() || same) std::abort();
    if (fragment.from_template && !may_hold_mark && fragment.text.find(kMark) != std::string::npos) std::abort();
    before = &fragment;
  }
}

void render(const ChatTemplate& program, const ChatInputs& inputs, bool may_hold_mark) {
  std::string text;
  try {
    const std::vector<ChatFragment> fragments = program.render(inputs);
    check_fragments(fragments, may_hold_mark);
    text = chat_text(fragments);
  } catch (const Error&) {
    return;
  }
  if (chat_text(program.render(inputs)) != text)
    std::abort();  // outside of the net: what went well once goes well again
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const size_t zero = all.find('\0');
  const std::string_view source = all.substr(0, zero);
  ChatInputs inputs;
  inputs.add_generation_prompt = size % 2 == 0;
  inputs.text_parts = inputs.reasoning_names = size % 3 == 0;
  try {
    const ChatTemplate program =
        ChatTemplate::parse(source, {{"bos_token", "<s>"}, {"eos_token", "</s>"}}, small_limits());
    const bool spells_mark =
        source.find(kMark) != std::string_view::npos || source.find('\\') != std::string_view::npos;
    inputs.messages = kMessages;
    render(program, inputs, spells_mark);
    if (zero == std::string_view::npos) return 0;
    inputs.messages = all.substr(zero + 1);
    render(program, inputs, true);
  } catch (const Error&) {
  }
  return 0;
}
