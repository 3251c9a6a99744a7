#include "eval/doc_text.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "base/utf8.h"
#include "eval/python_value.h"
#include "jinja/characters.h"

namespace hadal::eval {
namespace {

bool is_digits(const std::string& text) {
  return !text.empty() && text.size() < 10 && text.find_first_not_of("0123456789") == std::string::npos;
}

bool begins_with_space(std::string_view text) { return jinja::strip_range(text, true, false).first > 0; }
bool ends_with_space(std::string_view text) { return jinja::strip_range(text, false, true).second < text.size(); }

// Joined with the delimiter, unless there is white space at the border or nothing on one side.
std::string delimited(const std::string& front, const std::string& behind, const std::string& delimiter) {
  if (front.empty() || behind.empty()) return front + behind;
  return front + (ends_with_space(front) || begins_with_space(behind) ? "" : delimiter) + behind;
}

}  // namespace

DocReader::DocReader(const DocFields& fields, std::set<std::string> names, std::string where)
    : fields_(fields), names_(std::move(names)), where_(std::move(where)) {}

std::string DocReader::render(const std::string& source, const Json& doc) const {
  try {
    auto& parsed = templates_[source];
    if (!parsed) parsed = std::make_shared<ChatTemplate>(ChatTemplate::parse_text(source));
    return chat_text(parsed->render_variables(json_text(doc)));
  } catch (const Error& error) {
    std::string what = error.what();
    if (what.starts_with("chat template, ")) what = what.substr(15);
    throw Error(error.kind(), fmt::format("{}: in the template '{}': {}", where_, source, what));
  }
}

Json DocReader::text(const Json& doc) const {
  if (!fields_.text.is_string()) return fields_.text;
  const std::string source = fields_.text.get<std::string>();
  if (names_.contains(source)) return doc.at(source);
  const std::string rendered = render(source, doc);
  return is_digits(rendered) && has_choices() ? Json(std::stoll(rendered)) : Json(rendered);
}

Json DocReader::target(const Json& doc) const {
  if (!fields_.target.is_string()) return fields_.target;
  const std::string source = fields_.target.get<std::string>();
  if (names_.contains(source)) return doc.at(source);
  const std::string rendered = render(source, doc);
  if (is_digits(rendered) && has_choices()) return std::stoll(rendered);
  if (rendered.size() >= 2 && rendered.front() == '[' && rendered.back() == ']')
    if (const auto list = python_literal(rendered)) return *list;
  return rendered;
}

std::vector<std::string> DocReader::choices(const Json& doc) const {
  if (!has_choices()) return {};
  Json list = fields_.choice;
  if (list.is_string()) {
    const std::string source = list.get<std::string>();
    if (names_.contains(source)) {
      list = doc.at(source);
    } else {
      const std::string rendered = render(source, doc);
      const auto read = python_literal(rendered);
      check(read.has_value(), ErrorKind::invalid, "{}: doc_to_choice gives '{}', which is no list of texts", where_,
            rendered.substr(0, 60));
      list = *read;
    }
  }
  std::vector<std::string> texts;
  for (const Json& one : list) {
    check(one.is_string() && !one.get<std::string>().empty(), ErrorKind::invalid,
          "{}: doc_to_choice: a choice must be a text that is not empty, not {}", where_,
          json_text(one, {.lossy = true}).substr(0, 60));
    texts.push_back(one.get<std::string>());
  }
  check(!texts.empty(), ErrorKind::invalid, "{}: doc_to_choice gives no choices", where_);
  return texts;
}

std::string DocReader::resolve(const std::string& field, const Json& doc) const {
  if (field.empty()) return "";
  if (doc.contains(field)) return python_text(doc.at(field));
  return render(field, doc);
}

std::string DocReader::prefix(const Json& doc) const { return resolve(fields_.gen_prefix, doc); }

namespace {

struct Message {
  std::string role, content, delimiter;
};

std::string question_text(const DocReader& reader, const Json& doc, const std::vector<std::string>& choices) {
  const Json text = reader.text(doc);
  if (text.is_number_integer()) {
    const int64_t at = text.get<int64_t>();
    check(at >= 0 && at < int64_t(choices.size()), ErrorKind::invalid, "{}: doc_to_text gives {}, of {} choices",
          reader.where(), at, choices.size());
    return choices[size_t(at)];
  }
  check(text.is_string(), ErrorKind::invalid, "{}: doc_to_text must give a text, not {}", reader.where(),
        json_text(text, {.lossy = true}).substr(0, 60));
  return text.get<std::string>();
}

std::string answer_of(const DocReader& reader, const Json& doc, const std::vector<std::string>& choices) {
  Json target = reader.target(doc);
  if (target.is_array()) {
    check(!target.empty(), ErrorKind::invalid, "{}: doc_to_target gives an empty list", reader.where());
    target = Json(target[0]);
    if (target.is_number_integer() && !choices.empty()) target = choices.at(size_t(target.get<int64_t>()));
  } else if (target.is_number_integer() && !choices.empty()) {
    const int64_t at = target.get<int64_t>();
    check(at >= 0 && at < int64_t(choices.size()), ErrorKind::invalid, "{}: doc_to_target gives {}, of {} choices",
          reader.where(), at, choices.size());
    target = choices[size_t(at)];
  }
  check(target.is_string(), ErrorKind::invalid, "{}: the answer of an example must be a text, not {}", reader.where(),
        json_text(target, {.lossy = true}).substr(0, 60));
  return target.get<std::string>();
}

// A question, with its answer where it is an example.
void add_turn(std::vector<Message>& messages, const DocFields& fields, const std::string& question,
              const std::string& prefix, const std::string* answer) {
  const bool answered = answer != nullptr && !answer->empty();
  const bool parted = !question.empty() && !prefix.empty() && !ends_with_space(question) && !begins_with_space(prefix);
  const bool delimiter = prefix.empty() ? answered : parted;
  messages.push_back({"user", question, delimiter ? fields.target_delimiter : ""});
  if (answered)
    messages.push_back({"assistant", delimited(prefix, *answer, " "), fields.fewshot_delimiter});
  else if (!prefix.empty())
    messages.push_back({"assistant", prefix, ""});
}

std::string plain_text(const std::vector<Message>& messages) {
  std::string text;
  for (const Message& message : messages) text += message.content + message.delimiter;
  return text;
}

// Examples as turns of their own, or in the one message of the user as they stand in a text. What the answer begins
// with is the last message, an assistant's: the model goes on with it.
std::vector<ChatTurn> as_chat(std::vector<Message> messages, bool example_turns) {
  std::vector<ChatTurn> chat;
  if (example_turns) {
    for (const Message& message : messages) chat.push_back({message.role, message.content});
    return chat;
  }
  if (messages.front().role == "system") {
    chat.push_back({"system", messages.front().content});
    messages.erase(messages.begin());
  }
  std::optional<ChatTurn> begun;
  if (messages.back().role == "assistant") {
    begun = {"assistant", messages.back().content};
    messages.pop_back();
  }
  messages.back().delimiter.clear();
  chat.push_back({"user", plain_text(messages)});
  if (begun) chat.push_back(*begun);
  return chat;
}

}  // namespace

Contexts contexts_of(const ContextParts& parts, const Json& doc) {
  std::vector<Message> messages;
  const std::string description = parts.items.resolve(parts.description, doc);
  if (!description.empty()) messages.push_back({"system", description, ""});
  for (const Json* example : parts.examples) {
    const auto choices = parts.shots.choices(*example);
    const bool by_choice = parts.shots.text(*example).is_number_integer();
    const std::string answer = answer_of(parts.shots, *example, by_choice ? std::vector<std::string>() : choices);
    add_turn(messages, parts.shots.fields(), question_text(parts.shots, *example, choices),
             parts.shots.prefix(*example), &answer);
  }
  const auto choices = parts.items.choices(doc);
  const std::string prefix = parts.items.prefix(doc);
  Contexts contexts;
  contexts.by_choice = parts.items.text(doc).is_number_integer();
  const auto questions = contexts.by_choice ? choices : std::vector{question_text(parts.items, doc, choices)};
  for (const std::string& question : questions) {
    std::vector<Message> all = messages;
    DocFields fields = parts.items.fields();
    if (contexts.by_choice) fields.target_delimiter.clear();
    add_turn(all, fields, question, prefix, nullptr);
    if (parts.chat)
      contexts.chats.push_back(as_chat(std::move(all), parts.example_turns));
    else
      contexts.texts.push_back(plain_text(all));
  }
  return contexts;
}

}  // namespace hadal::eval
