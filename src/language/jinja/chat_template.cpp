#include "jinja/chat_template.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "jinja/chat_messages.h"
#include "jinja/interpreter.h"
#include "jinja/parser.h"

namespace hadal {

using jinja::MarkedText;
using jinja::Value;

struct ChatTemplate::State {
  ChatLimits limits;
  TemplateStyle style;
  std::map<std::string, std::string> special_tokens;
  jinja::Block block;
};

ChatTemplate::ChatTemplate(std::unique_ptr<State> state) : state_(std::move(state)) {}
ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

ChatTemplate ChatTemplate::parse_as(std::string_view source, const ChatLimits& limits, TemplateStyle style) {
  check(int64_t(source.size()) <= limits.source_bytes, ErrorKind::invalid,
        "chat template: {} bytes long, at most {} are allowed", source.size(), limits.source_bytes);
  auto state = std::make_unique<State>();
  state->limits = limits;
  state->style = style;
  state->block = jinja::parse_template(source, int(limits.parse_depth), style);
  return ChatTemplate(std::move(state));
}

ChatTemplate ChatTemplate::parse(std::string_view source, std::map<std::string, std::string> special_tokens,
                                 const ChatLimits& limits) {
  ChatTemplate parsed = parse_as(source, limits, TemplateStyle::chat);
  parsed.state_->special_tokens = std::move(special_tokens);
  return parsed;
}

ChatTemplate ChatTemplate::parse_text(std::string_view source, const ChatLimits& limits) {
  return parse_as(source, limits, TemplateStyle::text);
}

namespace {

using Variables = std::vector<std::pair<std::string, Value>>;

std::vector<ChatFragment> fragments_of(const MarkedText& text) {
  std::vector<ChatFragment> fragments;
  size_t begin = 0;
  for (const MarkedText::Stretch& stretch : text.stretches()) {
    fragments.push_back({text.bytes().substr(begin, stretch.end - begin), stretch.from_template, stretch.generated});
    begin = stretch.end;
  }
  return fragments;
}

void add_object(std::string_view json, const std::string& what, Variables& variables) {
  const Value object = jinja::value_from_json(json, what);
  check(object.dict() != nullptr, ErrorKind::invalid, "{} is a {}, not an object", what, object.type_name());
  for (const auto& [name, value] : object.dict()->items) variables.emplace_back(name.text()->bytes(), value);
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
struct Program {
  const jinja::Block& block;
  const ChatLimits& limits;
  TemplateStyle style;
};
std::vector<ChatFragment> run(const Program& program, int64_t clock, Variables variables) {
  std::reverse(variables.begin(), variables.end());
  jinja::Interpreter interpreter(program.limits, clock, program.style == TemplateStyle::text);
  return fragments_of(interpreter.render(program.block, variables));
}

}  // namespace

std::vector<ChatFragment> ChatTemplate::render(const ChatInputs& inputs) const {
  Variables variables = special_variables(state_->special_tokens);
  if (!inputs.variables.empty()) add_object(inputs.variables, "the variables of the chat template", variables);
  const size_t messages = variables.size();
  const jinja::ChatMessages chat(inputs);
  variables.emplace_back("messages", chat.as_given());
  variables.emplace_back("tools", optional_list(inputs.tools, "the tools"));
  variables.emplace_back("documents", optional_list(inputs.documents, "the documents"));
  variables.emplace_back("add_generation_prompt", Value(inputs.add_generation_prompt));
  const auto rendered = [&] { return run({state_->block, state_->limits, state_->style}, inputs.clock, variables); };
  if (!chat.has_text_parts()) return rendered();
  std::optional<std::vector<ChatFragment>> whole;  // whether the template takes lists shows when it is given one
  try {
    whole = rendered();
    if (chat.missing_texts(chat_text(*whole)) == 0) return *whole;
  } catch (const Error&) {
  }
  variables[messages].second = chat.with_joined_parts();
  try {
    auto joined = rendered();
    if (!whole || chat.missing_texts(chat_text(joined)) < chat.missing_texts(chat_text(*whole))) return joined;
  } catch (const Error&) {
    if (!whole) throw;
  }
  return *whole;
}

std::vector<ChatFragment> ChatTemplate::render_variables(std::string_view json, int64_t clock) const {
  Variables variables = special_variables(state_->special_tokens);
  add_object(json, "the variables of the template", variables);
  return run({state_->block, state_->limits, state_->style}, clock, std::move(variables));
}

std::string chat_text(const std::vector<ChatFragment>& fragments) {
  std::string text;
  for (const ChatFragment& fragment : fragments) text += fragment.text;
  return text;
}

}  // namespace hadal
