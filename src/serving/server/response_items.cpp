#include "server/response_items.h"

#include <utility>

#include "server/completions.h"

namespace hadal {

using Kind = ChatPart::Kind;

void ResponseItems::add(const ChatPart& part) {
  if (part.kind == Kind::tool_call) return call(part);
  if (open_ && kind_ != part.kind) close("completed");
  if (!open_) open_text(part.kind);
  said_ += part.text;
  if (kind_ == Kind::content)
    tell_of_text("response.output_text.delta", {{"delta", part.text}, {"logprobs", Json::array()}});
  else
    tell_of_text("response.reasoning_text.delta", {{"delta", part.text}});
}

void ResponseItems::end(bool whole) { close(whole ? "completed" : "incomplete"); }

void ResponseItems::call(const ChatPart& part) {
  close("completed");
  open(Kind::tool_call, {{"id", random_name("fc_")},
                         {"type", "function_call"},
                         {"status", "in_progress"},
                         {"call_id", random_name("call_")},
                         {"name", part.name},
                         {"arguments", ""}});
  said_ = part.text;
  tell_of_item("response.function_call_arguments.delta", {{"delta", said_}});
  close("completed");
}

void ResponseItems::open(Kind kind, Json item) {
  open_ = true, kind_ = kind;
  list_.push_back(std::move(item));
  tell("response.output_item.added", {{"output_index", list_.size() - 1}, {"item", list_.back()}});
}

void ResponseItems::open_text(Kind kind) {
  const bool says = kind == Kind::content;
  Json item = {
      {"id", random_name(says ? "msg_" : "rs_")}, {"type", says ? "message" : "reasoning"}, {"status", "in_progress"}};
  if (says)
    item["role"] = "assistant";
  else
    item["summary"] = Json::array();
  item["content"] = Json::array();
  open(kind, std::move(item));
  tell_of_text("response.content_part.added", {{"part", part()}});
}

Json ResponseItems::part() const {
  if (kind_ == Kind::reasoning) return {{"type", "reasoning_text"}, {"text", said_}};
  return {{"type", "output_text"}, {"text", said_}, {"annotations", Json::array()}, {"logprobs", Json::array()}};
}

void ResponseItems::close(const char* status) {
  if (!open_) return;
  open_ = false;
  Json& item = list_.back();
  item["status"] = status;
  if (kind_ == Kind::tool_call) {
    item["arguments"] = said_;
    tell_of_item("response.function_call_arguments.done", {{"name", item["name"]}, {"arguments", said_}});
  } else {
    item["content"].push_back(part());
    if (kind_ == Kind::content)
      tell_of_text("response.output_text.done", {{"text", said_}, {"logprobs", Json::array()}});
    else
      tell_of_text("response.reasoning_text.done", {{"text", said_}});
    tell_of_text("response.content_part.done", {{"part", part()}});
  }
  said_.clear();
  tell("response.output_item.done", {{"output_index", list_.size() - 1}, {"item", item}});
}

void ResponseItems::tell(const char* type, Json more) {
  if (event_) event_(type, more);
}
void ResponseItems::tell_of_item(const char* type, Json more) {
  more["item_id"] = list_.back()["id"], more["output_index"] = list_.size() - 1;
  tell(type, std::move(more));
}
void ResponseItems::tell_of_text(const char* type, Json more) {
  more["content_index"] = 0;
  tell_of_item(type, std::move(more));
}

}  // namespace hadal
