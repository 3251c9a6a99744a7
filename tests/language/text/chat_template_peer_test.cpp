// Chat templates beside Python's jinja2 in transformers' own environment, and chats' ids beside its
// apply_chat_template.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "text/text_testing.h"
#include "text/chat_template.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;
using testing::TempDir;

std::vector<Json> peer_cases(const std::string& arguments) {
  TempDir directory;
  const std::string root = HADAL_SOURCE_DIR, out = directory / "cases.jsonl";
  const size_t space = arguments.find(' ');
  const std::string what = arguments.substr(0, space), rest = space == std::string::npos ? "" : arguments.substr(space);
  const std::string command =
      "'" + root + "/.venv/bin/python' '" + root + "/tests/oracle/chat_templates.py' " + what + " '" + out + "'" + rest;
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
  std::vector<Json> cases;
  std::ifstream file(out);
  for (std::string line; std::getline(file, line);) cases.push_back(Json::parse(line));
  return cases;
}

std::map<std::string, std::string> special_tokens(const Json& one) {
  std::map<std::string, std::string> tokens;
  for (const auto& [name, token] : one["special"].items()) tokens[name] = token.get<std::string>();
  return tokens;
}

std::string or_empty(const Json& object, const char* key) {
  return object.contains(key) && !object[key].is_null() ? object[key].dump() : "";
}

ChatInputs inputs_of(const Json& one) {
  const Json& given = one["inputs"];
  ChatInputs inputs;
  inputs.messages = given["messages"].dump();
  inputs.tools = or_empty(given, "tools");
  inputs.documents = or_empty(given, "documents");
  inputs.variables = or_empty(given, "variables");
  inputs.add_generation_prompt = given["add_generation_prompt"];
  inputs.clock = one["clock"];
  return inputs;
}

// Our text; nothing, and why, where there is an error.
std::optional<std::string> our_text(const Json& one, std::string& why) {
  try {
    const ChatTemplate chat = ChatTemplate::parse(one["source"].get<std::string>(), special_tokens(one));
    return chat_text(one.contains("inputs") ? chat.render(inputs_of(one))
                                            : chat.render_variables(one["variables"].dump(), one["clock"]));
  } catch (const Error& e) {
    why = e.what();
    return std::nullopt;
  }
}

// The first line in which they differ.
std::string first_difference(const std::string& ours, const std::string& theirs) {
  std::istringstream a(ours), b(theirs);
  std::string x, y;
  while (true) {
    const bool more = bool(std::getline(a, x)), also = bool(std::getline(b, y));
    if (x != y || !more || !also) return "ours:   " + Json(x).dump() + "\ntheirs: " + Json(y).dump();
  }
}

// Every case has jinja2's text, or an error where jinja2 has one. Returns how many had a text.
int expect_equal_texts(const std::vector<Json>& cases) {
  int texts = 0, shown = 0;
  for (const Json& one : cases) {
    std::string why;
    const auto ours = our_text(one, why);
    const auto theirs = one["text"].is_null() ? std::nullopt : std::optional(one["text"].get<std::string>());
    texts += theirs.has_value();
    if (ours == theirs) continue;
    ADD_FAILURE() << one["name"] << "\nsource: " << one["source"].dump() << "\n"
                  << first_difference(ours ? *ours : "error: " + why, theirs ? *theirs : "error");
    if (++shown == 25) break;
  }
  return texts;
}

TEST(ChatTemplatePeer, PublishedAndPurposeMadeTemplatesGiveJinjasTextOverManyConversations) {
  const std::vector<Json> cases = peer_cases("templates");
  EXPECT_GE(cases.size(), 1400u);
  EXPECT_GE(expect_equal_texts(cases), 900);
}

TEST(ChatTemplatePeer, RandomSnippetsGiveJinjasTextOrAnErrorWhereJinjaHasOne) {
  const std::vector<Json> cases = peer_cases("snippets 7 600");
  EXPECT_EQ(cases.size(), 600u);
  EXPECT_GE(expect_equal_texts(cases), 380);
}

TEST(ChatTemplatePeer, CharactersHaveTheCasesAndClassesOfPython) {
  const std::vector<Json> cases = peer_cases("characters");
  EXPECT_GE(cases.size(), 10u);
  EXPECT_EQ(expect_equal_texts(cases), int(cases.size()));
}

TEST(ChatTemplatePeer, ChatsGiveTheIdsOfTransformersWithTheRealDeepSeekTokenizer) {
  const std::vector<Json> cases = peer_cases("ids");
  EXPECT_GE(cases.size(), 150u);
  std::optional<Tokenizer> tokenizer;
  int compared = 0;
  for (const Json& one : cases) {
    if (one["ids"].is_null()) continue;
    if (!tokenizer) tokenizer = Tokenizer::load(one["directory"]);
    const ChatTemplate chat = ChatTemplate::parse(one["source"].get<std::string>(), special_tokens(one));
    ASSERT_EQ(encode_chat(*tokenizer, chat.render(inputs_of(one))), one["ids"].get<std::vector<int32_t>>())
        << one["name"];
    ++compared;
  }
  EXPECT_GE(compared, 120);
}

}  // namespace
}  // namespace hadal
