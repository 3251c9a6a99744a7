// Cases that tests/oracle/chat_templates.py writes: a template, what it is given, and what transformers makes of it.
#pragma once
#include <gtest/gtest.h>

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

inline std::vector<Json> peer_cases(const std::string& arguments) {
  TempDir directory;
  const std::string root = HADAL_SOURCE_DIR, out = directory / "cases.jsonl";
  const size_t space = arguments.find(' ');
  const std::string what = arguments.substr(0, space), rest = space == std::string::npos ? "" : arguments.substr(space);
  const std::string command =
      "'" + root + "/.venv/bin/python' '" + root + "/tests/oracle/chat_templates.py' " + what + " '" + out + "'" + rest;
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
  std::vector<Json> cases;
  std::ifstream file(out);
  for (std::string line; std::getline(file, line);) cases.push_back(parse_json<Json>(line, "a line"));
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

inline ChatInputs inputs_of(const Json& one) {
  const Json& given = one["inputs"];
  ChatInputs inputs;
  inputs.messages = json_text(given["messages"]);
  inputs.tools = or_empty(given, "tools");
  inputs.documents = or_empty(given, "documents");
  inputs.variables = or_empty(given, "variables");
  inputs.add_generation_prompt = given["add_generation_prompt"];
  inputs.clock = one["clock"];
  return inputs;
}

}  // namespace hadal::testing
