#include "eval/asked_model.h"

#include <memory>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "data/rendered_dialogue.h"
#include "dialogue/prompt.h"
#include "jinja/characters.h"
#include "text/chat_files.h"
#include "text/encode_chat.h"

namespace hadal::eval {
namespace {

// What is scored behind a chat is text of people: it stands in a fragment of its own, and is encoded with the rest.
void add_behind(std::vector<ChatFragment>& fragments, const std::string& behind) {
  if (behind.empty()) return;
  if (!fragments.empty() && !fragments.back().from_template)
    fragments.back().text += behind;
  else
    fragments.push_back({behind, false});
}

// The chat up to where its last message, which the model goes on with, ends: what stands behind its words is the
// template's, and is cut off. As transformers' continue_final_message.
std::vector<ChatFragment> cut_behind(const std::vector<ChatFragment>& fragments, const std::string& message) {
  const auto [begin, end] = jinja::strip_range(message, true, true);
  const std::string text = chat_text(fragments), words = message.substr(begin, end - begin);
  const size_t at = text.rfind(words);
  check(at != std::string::npos, ErrorKind::invalid,
        "the chat template does not write '{}', which the answer is to begin with, as it stands", message);
  const std::string with_blanks = message.substr(begin);
  const bool kept = text.compare(at, with_blanks.size(), with_blanks) == 0;
  return data::cut_after(fragments, int64_t(at + (kept ? with_blanks : words).size()));
}

ChatForm by_template(const TextModel& loaded, ChatFiles files) {
  const auto kept = std::make_shared<const ChatFiles>(std::move(files));
  return [&loaded, kept](const std::vector<ChatTurn>& chat, const std::string& behind) {
    Json messages = Json::array();
    for (const ChatTurn& turn : chat) messages.push_back({{"role", turn.role}, {"content", turn.content}});
    const bool begun = !chat.empty() && chat.back().role == "assistant";
    ChatInputs inputs{.messages = json_text(messages), .add_generation_prompt = !begun};
    auto fragments = rendered_chat(*kept, loaded.model.directory.string(), std::move(inputs));
    if (begun) fragments = cut_behind(fragments, chat.back().content);
    add_behind(fragments, behind);
    return encode_chat(loaded.text(), fragments);
  };
}

}  // namespace

ChatForm report_chat_form(const Tokenizer& tokenizer, std::vector<int32_t> start) {
  const std::string user = "<｜User｜>", assistant = "<｜Assistant｜>";
  if (!tokenizer.find_token(user) || !tokenizer.find_token(assistant) || !tokenizer.eos_id()) return {};
  if (tokenizer.bos_id()) start = {*tokenizer.bos_id()};
  const std::string end(tokenizer.token_bytes(*tokenizer.eos_id()));
  return [=, &tokenizer](const std::vector<ChatTurn>& chat, const std::string& behind) {
    std::vector<ChatFragment> fragments;
    for (const ChatTurn& turn : chat) {
      const bool begun = turn.role == "assistant" && &turn == &chat.back();
      if (turn.role == "user" || turn.role == "assistant")
        fragments.push_back({turn.role == "user" ? user : assistant, true});
      if (!turn.content.empty()) fragments.push_back({turn.content, false});
      if (turn.role == "assistant" && !begun) fragments.push_back({end, true});
    }
    if (chat.empty() || chat.back().role != "assistant") fragments.push_back({assistant, true});
    add_behind(fragments, behind);
    std::vector<int32_t> ids = start;
    const auto rest = encode_chat(tokenizer, fragments);
    ids.insert(ids.end(), rest.begin(), rest.end());
    return ids;
  };
}

AskedModel asked_model(const Exec& exec, const TextModel& loaded, const std::string& bos) {
  const Tokenizer& tokenizer = loaded.text();
  AskedModel asked{exec, *loaded.model.transformer, tokenizer, text_start(loaded, bos), 0, loaded.stop, {}};
  const auto before = tokenizer.bos_id() ? tokenizer.bos_id() : tokenizer.eos_id();
  check(before.has_value(), ErrorKind::invalid, "{}: the tokenizer has neither BOS nor EOS to stand before a text",
        loaded.model.directory.string());
  asked.empty_context = *before;
  ChatFiles files = read_chat_files(loaded.model.directory.string());
  asked.chat =
      files.templates.empty() ? report_chat_form(tokenizer, text_start(loaded)) : by_template(loaded, std::move(files));
  return asked;
}

}  // namespace hadal::eval
