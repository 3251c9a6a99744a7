#include "server/chat_text.h"

#include <algorithm>
#include <optional>
#include <string_view>

namespace hadal {
namespace {

using Kind = ChatPart::Kind;

const std::string kThink = "<think>", kThought = "</think>";
const std::string kCalls = "<｜tool▁calls▁begin｜>", kCallsEnd = "<｜tool▁calls▁end｜>";
const std::string kCall = "<｜tool▁call▁begin｜>", kCallEnd = "<｜tool▁call▁end｜>", kSeparator = "<｜tool▁sep｜>";

// How many bytes at the end of the text may begin the mark.
size_t beginning_at_end(const std::string& text, const std::string& mark) {
  for (size_t n = std::min(mark.size() - 1, text.size()); n > 0; --n)
    if (text.compare(text.size() - n, n, mark, 0, n) == 0) return n;
  return 0;
}

std::string trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n"), end = text.find_last_not_of(" \t\r\n");
  return begin == std::string_view::npos ? "" : std::string(text.substr(begin, end - begin + 1));
}

void add(std::vector<ChatPart>& parts, Kind kind, const std::string& text) {
  if (text.empty()) return;
  if (!parts.empty() && parts.back().kind == kind && kind != Kind::tool_call)
    parts.back().text += text;
  else
    parts.push_back({kind, text});
}

// What stands between the marks of one call.
std::optional<ChatPart> read_call(std::string_view inside) {
  const size_t middle = inside.find(kSeparator);
  if (middle == std::string_view::npos) return {};
  const std::string_view before = inside.substr(0, middle), behind = inside.substr(middle + kSeparator.size());
  ChatPart part{Kind::tool_call, "", ""};
  constexpr std::string_view kFence = "```json", kFenceEnd = "```";
  const size_t fence = behind.find(kFence), end = behind.rfind(kFenceEnd);
  if (fence != std::string_view::npos && end > fence && trimmed(before) == "function") {
    part.name = trimmed(behind.substr(0, fence));
    part.text = trimmed(behind.substr(fence + kFence.size(), end - fence - kFence.size()));
  } else {
    part.name = trimmed(before);
    part.text = trimmed(behind);
  }
  if (part.name.empty()) return {};
  return part;
}

}  // namespace

std::vector<ChatPart> ChatText::push(const std::string& text) {
  waiting_ += text;
  std::vector<ChatPart> parts;
  while (step(parts)) continue;
  return parts;
}

std::vector<ChatPart> ChatText::finish() {
  std::vector<ChatPart> parts;
  add(parts, state_ == State::thinking ? Kind::reasoning : Kind::content, waiting_);
  waiting_.clear();
  return parts;
}

bool ChatText::step(std::vector<ChatPart>& parts) {
  switch (state_) {
    case State::start: return begin(parts);
    case State::thinking:
      if (!until(kThought, Kind::reasoning, parts)) return false;
      state_ = State::speaking;
      return true;
    case State::speaking: return speak(parts);
    default: return call(parts);
  }
}

bool ChatText::begin(std::vector<ChatPart>& parts) {
  const size_t at = waiting_.find_first_not_of(" \t\r\n");
  if (at == std::string::npos) return false;
  const std::string_view rest = std::string_view(waiting_).substr(at);
  if (rest.starts_with(kThink)) {
    waiting_.erase(0, at + kThink.size());
    state_ = State::thinking;
    return true;
  }
  if (std::string_view(kThink).starts_with(rest)) return false;
  state_ = State::speaking;
  return true;
}

// Gives out what stands before the mark, and takes the mark away once it is there.
bool ChatText::until(const std::string& mark, Kind kind, std::vector<ChatPart>& parts) {
  const size_t at = waiting_.find(mark);
  const size_t shown = at != std::string::npos ? at : waiting_.size() - beginning_at_end(waiting_, mark);
  add(parts, kind, waiting_.substr(0, shown));
  waiting_.erase(0, at != std::string::npos ? at + mark.size() : shown);
  return at != std::string::npos;
}

bool ChatText::speak(std::vector<ChatPart>& parts) {
  if (!tools_) {
    add(parts, Kind::content, waiting_);
    waiting_.clear();
    return false;
  }
  if (!until(kCalls, Kind::content, parts)) return false;
  waiting_ = kCalls + waiting_;  // content again, if no call follows
  state_ = State::calling;
  return true;
}

// waiting_ begins with kCalls, or with what follows a whole call.
bool ChatText::call(std::vector<ChatPart>& parts) {
  const size_t end = waiting_.find(kCallEnd), last = waiting_.find(kCallsEnd);
  if (end == std::string::npos && last == std::string::npos) return false;
  if (last < end) {
    const std::string rest = waiting_.substr(0, last);
    const bool marks_alone = trimmed(rest).empty();
    if (!marks_alone) add(parts, Kind::content, rest + kCallsEnd);
    waiting_.erase(0, last + kCallsEnd.size());
    state_ = State::speaking;
    return true;
  }
  const size_t start = waiting_.find(kCall);
  std::optional<ChatPart> part;
  if (start < end)
    part = read_call(std::string_view(waiting_).substr(start + kCall.size(), end - start - kCall.size()));
  if (part)
    parts.push_back(*part);
  else
    add(parts, Kind::content, waiting_.substr(0, end + kCallEnd.size()));
  waiting_.erase(0, end + kCallEnd.size());
  return true;
}

}  // namespace hadal
