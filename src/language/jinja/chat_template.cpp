#include "jinja/chat_template.h"

#include <algorithm>

#include "base/error.h"
#include "jinja/interpreter.h"
#include "jinja/parser.h"

namespace hadal {

using jinja::DictData;
using jinja::ListData;
using jinja::MarkedText;
using jinja::Value;

struct ChatTemplate::State {
  ChatLimits limits;
  std::map<std::string, std::string> special_tokens;
  jinja::Block block;
};

ChatTemplate::ChatTemplate(std::unique_ptr<State> state) : state_(std::move(state)) {}
ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

ChatTemplate ChatTemplate::parse(std::string_view source, std::map<std::string, std::string> special_tokens,
                                 const ChatLimits& limits) {
  check(int64_t(source.size()) <= limits.source_bytes, ErrorKind::invalid,
        "chat template: {} bytes long, at most {} are allowed", source.size(), limits.source_bytes);
  auto state = std::make_unique<State>();
  state->limits = limits;
  state->special_tokens = std::move(special_tokens);
  state->block = jinja::parse_template(source, int(limits.parse_depth));
  return ChatTemplate(std::move(state));
}

namespace {

using Variables = std::vector<std::pair<std::string, Value>>;

std::vector<ChatFragment> fragments_of(const MarkedText& text) {
  std::vector<ChatFragment> fragments;
  size_t begin = 0;
  for (const MarkedText::Stretch& stretch : text.stretches()) {
    fragments.push_back({text.bytes().substr(begin, stretch.end - begin), stretch.from_template});
    begin = stretch.end;
  }
  return fragments;
}

void add_object(std::string_view json, const std::string& what, Variables& variables) {
  const Value object = jinja::value_from_json(json, what);
  check(object.dict() != nullptr, ErrorKind::invalid, "{} is a {}, not an object", what, object.type_name());
  for (const auto& [name, value] : object.dict()->items) variables.emplace_back(name.text()->bytes(), value);
}

bool is_word(const std::string& text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  });
}

// The messages as the template sees them: plain roles are the template's words, null fields may go.
Value chat_messages(const std::string& json, bool drop_null_fields) {
  const Value messages = jinja::value_from_json(json, "the list of messages");
  check(messages.list() != nullptr, ErrorKind::invalid, "the messages are a {}, not a list of objects",
        messages.type_name());
  auto out = std::make_shared<ListData>();
  for (const Value& message : messages.list()->items) {
    check(message.dict() != nullptr, ErrorKind::invalid, "message {} is a {}, not an object with role and content",
          out->items.size() + 1, message.type_name());
    auto copy = std::make_shared<DictData>();
    for (const auto& [key, value] : message.dict()->items) {
      if (drop_null_fields && value.is_none()) continue;
      const bool role = key.text()->bytes() == "role" && value.text() != nullptr && is_word(value.text()->bytes());
      copy->set(std::get<jinja::TextPtr>(key.v), role ? jinja::author_text(value.text()->bytes()) : value);
    }
    out->depth = std::max(out->depth, copy->depth + 1);
    out->items.emplace_back(jinja::DictPtr(std::move(copy)));
  }
  return Value(jinja::ListPtr(std::move(out)));
}

Value optional_list(const std::string& json, const std::string& what) {
  if (json.empty()) return Value(jinja::None{});
  Value list = jinja::value_from_json(json, what);
  check(list.list() != nullptr || list.is_none(), ErrorKind::invalid, "{} are a {}, not a list", what,
        list.type_name());
  return list;
}

Variables special_variables(const std::map<std::string, std::string>& tokens) {
  Variables variables;
  for (const auto& [name, token] : tokens) variables.emplace_back(name, jinja::author_text(token));
  return variables;
}

// Later ones win, as with keyword arguments over special tokens.
std::vector<ChatFragment> run(const jinja::Block& block, const ChatLimits& limits, int64_t clock, Variables variables) {
  std::reverse(variables.begin(), variables.end());
  jinja::Interpreter interpreter(limits, clock);
  return fragments_of(interpreter.render(block, variables));
}

}  // namespace

std::vector<ChatFragment> ChatTemplate::render(const ChatInputs& inputs) const {
  Variables variables = special_variables(state_->special_tokens);
  if (!inputs.variables.empty()) add_object(inputs.variables, "the variables of the chat template", variables);
  variables.emplace_back("messages", chat_messages(inputs.messages, inputs.drop_null_fields));
  variables.emplace_back("tools", optional_list(inputs.tools, "the tools"));
  variables.emplace_back("documents", optional_list(inputs.documents, "the documents"));
  variables.emplace_back("add_generation_prompt", Value(inputs.add_generation_prompt));
  return run(state_->block, state_->limits, inputs.clock, std::move(variables));
}

std::vector<ChatFragment> ChatTemplate::render_variables(std::string_view json, int64_t clock) const {
  Variables variables = special_variables(state_->special_tokens);
  add_object(json, "the variables of the template", variables);
  return run(state_->block, state_->limits, clock, std::move(variables));
}

std::string chat_text(const std::vector<ChatFragment>& fragments) {
  std::string text;
  for (const ChatFragment& fragment : fragments) text += fragment.text;
  return text;
}

}  // namespace hadal
