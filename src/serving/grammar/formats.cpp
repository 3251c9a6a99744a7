#include "grammar/formats.h"

#include "grammar/schema_check.h"

namespace hadal {
namespace {

// Between values of JSON. More is not needed, and a model at a loss would write nothing else.
constexpr int kMostBlanks = 2;

Json text_of(const std::string& text) { return {{"type", "const_string"}, {"value", text}}; }

Json sequence_of(Json elements) { return {{"type", "sequence"}, {"elements", std::move(elements)}}; }

Json one_of(Json elements) {
  if (elements.size() == 1) return elements[0];
  return {{"type", "or"}, {"elements", std::move(elements)}};
}

Json json_of(const Json& schema) {
  return {{"type", "json_schema"}, {"json_schema", schema}, {"max_whitespace_cnt", kMostBlanks}};
}

// The token where the tokenizer has one of its own for it, else its letters.
Json mark_of(const Tokenizer& tokenizer, const std::string& mark) {
  const auto id = tokenizer.find_token(mark);
  if (id && tokenizer.is_added(*id)) return {{"type", "token"}, {"token", *id}};
  return text_of(mark);
}

}  // namespace

Json format_of_schema(const Json& schema, const std::string& where) { return json_of(checked_schema(schema, where)); }

Json format_of_any_object() { return json_of({{"type", "object"}, {"additionalProperties", true}}); }

Json format_of_regex(const std::string& pattern) { return {{"type", "regex"}, {"pattern", pattern}}; }

Json format_of_grammar(const std::string& ebnf) { return {{"type", "grammar"}, {"grammar", ebnf}}; }

Json format_of_choices(const std::vector<std::string>& choices) {
  Json texts = Json::array();
  for (const std::string& choice : choices) texts.push_back(text_of(choice));
  return one_of(std::move(texts));
}

Json format_of_calls(const Tokenizer& tokenizer, const std::vector<ToolFormat>& tools, bool fences, bool several) {
  const auto mark = [&](const char* name) { return mark_of(tokenizer, name); };
  const Json end = mark("<｜tool▁call▁end｜>"), ends = mark("<｜tool▁calls▁end｜>");
  Json calls = Json::array();
  for (ToolFormat tool : tools) {
    // A mark in letters could stand in a string too.
    if (end["type"] != "token") tool.arguments["excludes"] = {end["value"], "<｜tool▁calls▁end｜>"};
    Json parts = Json::array({mark("<｜tool▁call▁begin｜>")});
    if (fences) {
      parts.push_back(text_of("function"));
      parts.push_back(mark("<｜tool▁sep｜>"));
      parts.push_back(text_of(tool.name + "\n```json\n"));
      parts.push_back(tool.arguments);
      parts.push_back(text_of("\n```"));
    } else {
      parts.push_back(text_of(tool.name));
      parts.push_back(mark("<｜tool▁sep｜>"));
      parts.push_back(tool.arguments);
    }
    parts.push_back(end);
    calls.push_back(sequence_of(std::move(parts)));
  }
  const Json call = one_of(std::move(calls));
  Json all = Json::array({mark("<｜tool▁calls▁begin｜>"), call});
  if (several) {
    const Json next = fences ? sequence_of(Json::array({text_of("\n"), call})) : call;
    all.push_back({{"type", "star"}, {"content", next}});
  }
  all.push_back(ends);
  return sequence_of(std::move(all));
}

Json format_after_thought(const Tokenizer& tokenizer, Json format) {
  const Json end = mark_of(tokenizer, "</think>");
  const bool token = end["type"] == "token";
  Json thought = {{"type", "tag"}, {"begin", ""}};
  thought["content"] = {{"type", "any_text"}};
  if (token) thought["content"]["excludes"] = {"</think>"};  // nor by its letters
  thought["end"] = token ? end : end["value"];
  return sequence_of(Json::array({std::move(thought), std::move(format)}));
}

}  // namespace hadal
