// See rendered_dialogue.h.
#include "data/rendered_dialogue.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "text/added_tokens.h"

namespace hadal::data {
namespace {

using Json = nlohmann::ordered_json;

// What a template that asks for the date is told: a build must give the same text tomorrow. 26 July 2024, noon.
constexpr int64_t kClock = 1721995200;

const std::string kOpen(kThinkBeginToken), kClose(kThinkEndToken);

std::string stripped(const std::string& text) {
  const char* blanks = " \t\r\n";
  const size_t begin = text.find_first_not_of(blanks);
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

std::string content_of(const Json& message) {
  return message["content"].is_string() ? message["content"].get<std::string>() : "";
}

// Stand-ins for <think> and </think> that a template does not know: letters for private use, more of them than stand
// anywhere in the dialogue.
struct StandIns {
  std::string open, close;
  explicit StandIns(const std::string& dialogue) {
    const std::string letter = "\xEE\x82\xB1";
    std::string run = letter;
    while (dialogue.find(run) != std::string::npos) run += letter;
    open = run + "\xEE\x82\xB2", close = run + "\xEE\x82\xB3";
  }
};

// What stands behind <think> at the end of a prompt: blanks; nothing where it does not end so.
std::string blanks_behind_open(const std::string& prompt) {
  const size_t end = prompt.find_last_not_of(" \t\r\n");
  if (end == std::string::npos || !std::string_view(prompt).substr(0, end + 1).ends_with(kOpen)) return "";
  return prompt.substr(end + 1);
}

// The content of an answer with its thought inside, the tokens around it replaced.
std::string with_stand_ins(const Json& message, const StandIns& names, const std::string& blanks) {
  std::string content = content_of(message);
  if (message.contains("reasoning_content")) {
    const std::string behind = blanks.empty() ? "" : "\n\n";
    return names.open + blanks + message["reasoning_content"].get<std::string>() + blanks + names.close + behind +
           content;
  }
  if (content.starts_with(kOpen)) content.replace(0, kOpen.size(), names.open);
  replace_all(content, kClose, names.close);
  return content;
}

}  // namespace

RenderedDialogue::RenderedDialogue(const ChatTemplate& chat, Json dialogue)
    : chat_(chat), dialogue_(std::move(dialogue)) {
  for (const Json& message : dialogue_["messages"]) messages_.push_back(json_text(message));
}

bool RenderedDialogue::is_answer(int64_t message) const {
  return dialogue_["messages"][size_t(message)]["role"] == "assistant";
}

bool RenderedDialogue::is_trained(int64_t message) const {
  return is_answer(message) && !dialogue_["messages"][size_t(message)].contains("weight") &&
         message >= dialogue_.value("completion_from", int64_t(0));
}

std::string RenderedDialogue::name(int64_t message) const {
  return fmt::format("message {} ({})", message + 1, dialogue_["messages"][size_t(message)]["role"].get<std::string>());
}

std::string RenderedDialogue::thought(int64_t message) const {
  const Json& one = dialogue_["messages"][size_t(message)];
  if (one.contains("reasoning_content")) return stripped(one["reasoning_content"].get<std::string>());
  std::string content = content_of(one);
  const size_t end = content.find(kClose);
  if (end == std::string::npos) return "";
  content.resize(end);
  return stripped(content.starts_with(kOpen) ? content.substr(kOpen.size()) : content);
}

std::string RenderedDialogue::first_messages(int64_t n) const {
  std::string list = "[";
  for (int64_t i = 0; i < n; ++i) list += (i > 0 ? "," : "") + messages_[size_t(i)];
  return list;
}

Fragments RenderedDialogue::render(std::string messages, bool asks) const {
  ChatInputs inputs;
  inputs.messages = std::move(messages);
  if (dialogue_.contains("tools")) inputs.tools = json_text(dialogue_["tools"]);
  inputs.add_generation_prompt = asks;
  inputs.reasoning_names = true;
  inputs.clock = kClock;
  return chat_.render(inputs);
}

Fragments RenderedDialogue::first(int64_t n, bool asks) const { return render(first_messages(n) + "]", asks); }

Fragments RenderedDialogue::up_to_answer(int64_t message) const {
  Fragments plain = first(message + 1, false);
  const std::string wanted = thought(message);
  if (wanted.empty() || chat_text(plain).find(wanted) != std::string::npos) return plain;
  const StandIns names(json_text(dialogue_));
  Json answer = dialogue_["messages"][size_t(message)];
  answer["content"] = with_stand_ins(answer, names, blanks_behind_open(chat_text(first(message, true))));
  answer.erase("reasoning_content");
  Fragments kept = render(first_messages(message) + (message > 0 ? "," : "") + json_text(answer) + "]", false);
  for (ChatFragment& fragment : kept)
    replace_all(fragment.text, names.open, kOpen), replace_all(fragment.text, names.close, kClose);
  check(chat_text(kept).find(wanted) != std::string::npos, ErrorKind::invalid,
        "{}: the chat template leaves its thought out", name(message));
  return kept;
}

void RenderedDialogue::check_written(const std::string& text) const {
  for (int64_t i = 0; i < n_messages(); ++i) {
    const Json& message = dialogue_["messages"][size_t(i)];
    if (message["role"] == "tool") continue;  // often written as JSON
    std::string words = content_of(message);
    if (const size_t end = words.rfind(kClose); is_answer(i) && end != std::string::npos)
      words = words.substr(end + kClose.size());
    words = stripped(words);
    check(words.empty() || text.find(words) != std::string::npos, ErrorKind::invalid,
          "the chat template does not write what {} says", name(i));
  }
}

int64_t bytes_in_common(const Fragments& a, const Fragments& b) {
  const std::string first = chat_text(a), second = chat_text(b);
  return std::mismatch(first.begin(), first.end(), second.begin(), second.end()).first - first.begin();
}

bool begins_with(const Fragments& whole, const Fragments& part) {
  size_t i = 0, at = 0;  // in whole
  for (const ChatFragment& fragment : part) {
    for (const char c : fragment.text) {
      while (i < whole.size() && at == whole[i].text.size()) ++i, at = 0;
      if (i == whole.size() || whole[i].text[at] != c) return false;
      const bool blank = c == ' ' || c == '\n' || c == '\t' || c == '\r';
      if (fragment.from_template && !whole[i].from_template && !blank) return false;
      ++at;
    }
  }
  return true;
}

Fragments cut_after(const Fragments& fragments, int64_t bytes) {
  Fragments out;
  for (const ChatFragment& fragment : fragments) {
    if (bytes <= 0) break;
    out.push_back(fragment);
    if (int64_t(fragment.text.size()) > bytes) out.back().text.resize(size_t(bytes));
    bytes -= int64_t(fragment.text.size());
  }
  return out;
}

Fragments cut_before(const Fragments& fragments, int64_t bytes) {
  Fragments out;
  for (const ChatFragment& fragment : fragments) {
    const int64_t size = int64_t(fragment.text.size()), left_out = std::clamp<int64_t>(bytes, 0, size);
    bytes -= size;
    if (left_out == size) continue;
    out.push_back(fragment);
    out.back().text.erase(0, size_t(left_out));
  }
  return out;
}

void mark_thought(Fragments& fragments, int64_t begin, int64_t end) {
  bool open = false, close = false;  // found
  Fragments out;
  int64_t at = 0;
  for (const ChatFragment& fragment : fragments) {
    const int64_t from = std::max<int64_t>(0, begin - at), to = end - at;
    at += int64_t(fragment.text.size());
    std::string_view text = fragment.text;
    if (fragment.from_template || to <= 0 || from >= int64_t(text.size())) {
      out.push_back(fragment);
      continue;
    }
    size_t done = 0;
    const auto take = [&](size_t n, bool token) {
      if (n > 0) out.push_back({std::string(text.substr(done, n)), token, fragment.generated});
      done += n;
    };
    if (!open && text.substr(size_t(from)).starts_with(kOpen)) take(size_t(from), false), take(kOpen.size(), true);
    open = true;
    const size_t found = close ? std::string::npos : text.find(kClose, std::max(done, size_t(from)));
    if (found != std::string::npos && int64_t(found + kClose.size()) <= to)
      take(found - done, false), take(kClose.size(), true), close = true;
    take(text.size() - done, false);
  }
  fragments = std::move(out);
}

std::vector<ByteSpan> generated_spans(const Fragments& fragments, int64_t begin, int64_t end) {
  std::vector<ByteSpan> spans;
  int64_t at = 0;
  for (const ChatFragment& fragment : fragments) {
    const int64_t from = std::max(begin, at), to = std::min(end, at + int64_t(fragment.text.size()));
    at += int64_t(fragment.text.size());
    if (!fragment.generated || from >= to) continue;
    if (!spans.empty() && spans.back().end == from)
      spans.back().end = to;
    else
      spans.push_back({from, to});
  }
  return spans;
}

}  // namespace hadal::data
