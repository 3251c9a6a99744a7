// Cases that tests/oracle/chat_templates.py writes: a template, what it is given, and what transformers makes of it.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/testing.h"
#include "jinja/chat_template.h"

namespace hadal::testing {

using Json = nlohmann::ordered_json;

// Runs a script of tests/oracle, "OUT" in its arguments being a file, and visits the lines that it writes there.
template <class Visit>
void for_peer_lines(const std::string& script, std::string arguments, const Visit& visit) {
  TempDir directory;
  const std::string root = HADAL_SOURCE_DIR, out = directory / "cases.jsonl";
  arguments.replace(arguments.find("OUT"), 3, "'" + out + "'");
  const std::string command = "'" + root + "/.venv/bin/python' '" + root + "/tests/oracle/" + script + "' " + arguments;
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
  std::ifstream file(out);
  for (std::string line; std::getline(file, line);) visit(parse_json<Json>(line, "a line"));
}

inline std::vector<Json> peer_cases(const std::string& arguments) {
  std::vector<Json> cases;
  const size_t space = std::min(arguments.find(' '), arguments.size());
  for_peer_lines("chat_templates.py", arguments.substr(0, space) + " OUT" + arguments.substr(space),
                 [&](const Json& one) { cases.push_back(one); });
  return cases;
}

inline std::map<std::string, std::string> special_tokens(const Json& one) {
  std::map<std::string, std::string> tokens;
  for (const auto& [name, token] : one["special"].items()) tokens[name] = token.get<std::string>();
  return tokens;
}

inline std::string or_empty(const Json& object, const char* key) {
  return object.contains(key) && !object[key].is_null() ? json_text(object[key]) : "";
}

inline ChatInputs inputs_of(const Json& one, int64_t clock) {
  const Json& given = one["inputs"];
  ChatInputs inputs;
  inputs.messages = json_text(given["messages"]);
  inputs.tools = or_empty(given, "tools");
  inputs.documents = or_empty(given, "documents");
  inputs.variables = or_empty(given, "variables");
  inputs.add_generation_prompt = given["add_generation_prompt"];
  inputs.clock = clock;
  return inputs;
}
inline ChatInputs inputs_of(const Json& one) { return inputs_of(one, one["clock"]); }

}  // namespace hadal::testing
