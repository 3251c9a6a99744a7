#include "jinja/chat_messages.h"

#include <algorithm>

#include "base/error.h"
#include "jinja/characters.h"

namespace hadal::jinja {
namespace {

bool is_plain_word(const std::string& text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  });
}

Value list_of(const std::vector<Value>& items) {
  auto list = std::make_shared<ListData>();
  list->items = items;
  for (const Value& item : items) list->depth = std::max(list->depth, item.depth() + 1);
  return Value(ListPtr(std::move(list)));
}

TextPtr key_of(const char* name) { return std::make_shared<const MarkedText>(name, true); }

// The text of a part of a content: a text itself, or an object with one.
const MarkedText& text_of_part(const Value& part, size_t message, size_t number) {
  if (part.text() != nullptr) return *part.text();
  const Value* type = part.dict() != nullptr ? part.dict()->find("type") : nullptr;
  const Value* text = part.dict() != nullptr ? part.dict()->find("text") : nullptr;
  const std::string kind = type != nullptr && type->text() != nullptr ? type->text()->bytes() : "";
  const bool of_text = type == nullptr || kind == "text" || kind == "input_text" || kind == "output_text";
  check(text != nullptr && text->text() != nullptr && of_text, ErrorKind::invalid,
        "message {}: part {} of its content is {}; only texts can be given here, "
        "{{\"type\": \"text\", \"text\": \"...\"}}",
        message, number, kind.empty() || of_text ? "no text" : "of type '" + kind.substr(0, 80) + "'");
  return *text->text();
}

// The same parts; a template that prints one of them, or all, as a whole is found out.
Value marked_parts(const ListData& parts) {
  auto marked = std::make_shared<ListData>(parts);
  marked->is_parts = true;
  for (Value& part : marked->items) {
    if (part.dict() == nullptr) continue;
    auto copy = std::make_shared<DictData>();
    for (const auto& [key, value] : part.dict()->items) copy->set(std::get<TextPtr>(key.v), value);
    copy->depth = part.dict()->depth;
    copy->is_part = true;
    part = Value(DictPtr(std::move(copy)));
  }
  return Value(ListPtr(std::move(marked)));
}

// What transformers does: "reasoning_content" is the first of the three names that is there, and so is "thinking" where
// it is not; "reasoning" is read, not written.
void fill_reasoning(DictData& message) {
  static constexpr const char* kNames[] = {"reasoning_content", "thinking", "reasoning"};
  const Value* reasoning = nullptr;
  for (const char* name : kNames) {
    const Value* found = message.find(name);
    if (reasoning == nullptr && found != nullptr && !found->is_none()) reasoning = found;
  }
  if (reasoning == nullptr) return;
  const Value value = *reasoning;
  message.set(key_of(kNames[0]), value);
  if (message.find(kNames[1]) == nullptr) message.set(key_of(kNames[1]), value);
  message.depth = std::max(message.depth, value.depth() + 1);
}

}  // namespace

ChatMessages::ChatMessages(const ChatInputs& inputs) {
  const Value messages = value_from_json(inputs.messages, "the list of messages");
  check(messages.list() != nullptr, ErrorKind::invalid, "the messages are a {}, not a list of objects",
        messages.type_name());
  for (const Value& message : messages.list()->items) {
    const size_t number = messages_.size() + 1;
    check(message.dict() != nullptr, ErrorKind::invalid, "message {} is a {}, not an object with role and content",
          number, message.type_name());
    messages_.push_back(one_message(*message.dict(), inputs, number));
  }
}

Value ChatMessages::one_message(const DictData& message, const ChatInputs& inputs, size_t number) {
  auto copy = std::make_shared<DictData>();
  Value joined;
  for (const auto& [key, value] : message.items) {
    if (inputs.drop_null_fields && value.is_none()) continue;
    const std::string& name = key.text()->bytes();
    const auto key_text = std::get<TextPtr>(key.v);
    if (name == "role" && value.text() != nullptr && is_plain_word(value.text()->bytes())) {
      copy->set(key_text, author_text(value.text()->bytes()));
    } else if (name == "content" && inputs.text_parts && value.list() != nullptr) {
      joined = content_of(value, number);
      copy->set(key_text, marked_parts(*value.list()));
    } else {
      copy->set(key_text, value);
    }
  }
  if (inputs.reasoning_names) fill_reasoning(*copy);
  auto other = joined.is_undefined() ? copy : std::make_shared<DictData>();
  if (other != copy)
    for (const auto& [key, value] : copy->items)
      other->set(std::get<TextPtr>(key.v), key.text()->bytes() == "content" ? joined : value);
  joined_.emplace_back(DictPtr(std::move(other)));
  return Value(DictPtr(std::move(copy)));
}

// The texts of the parts behind one another.
Value ChatMessages::content_of(const Value& content, size_t number) {
  MarkedText out;
  size_t part = 0;
  for (const Value& one : content.list()->items) {
    const MarkedText& text = text_of_part(one, number, ++part);
    const auto [begin, end] = strip_range(text.bytes(), true, true);
    texts_.push_back(text.bytes().substr(begin, end - begin));
    out.append(text);
  }
  if (content.list()->items.empty()) texts_.emplace_back();
  return text_value(std::move(out));
}

Value ChatMessages::as_given() const { return list_of(messages_); }
Value ChatMessages::with_joined_parts() const { return list_of(joined_); }

size_t ChatMessages::missing_texts(const std::string& rendered) const {
  return size_t(std::count_if(texts_.begin(), texts_.end(), [&](const std::string& text) {
    return find_bytes(rendered, text, 0) == std::string::npos;
  }));
}

}  // namespace hadal::jinja
