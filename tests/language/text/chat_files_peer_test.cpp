// Which chat template of a directory is taken, beside transformers.
#include "text/chat_files.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "base/testing.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

// Python reads files with the line ends of Unix.
std::string with_unix_lines(std::string text) {
  std::erase(text, '\r');
  return text;
}

TEST(ChatFilesPeer, TransformersTakesTheSameOfADirectorysTemplates) {
  const testing::TempDir place;
  const std::string root = HADAL_SOURCE_DIR;
  const std::string command =
      "'" + root + "/.venv/bin/python' '" + root + "/tests/oracle/chat_template_files.py' '" + place.path() + "'";
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  int compared = 0, lone = 0;
  for (const Json& one : read_json<Json>(place / "cases.json")) {
    const std::string directory = one["directory"];
    const ChatFiles files = read_chat_files(directory);
    const TemplateChoice choice = {one["name"].is_null() ? "" : one["name"].get<std::string>(),
                                   !one["tools"].is_null()};
    std::optional<std::string> ours;
    try {
      if (const NamedTemplate* chosen = chosen_template(files, choice, directory))
        ours = with_unix_lines(chosen->source);
    } catch (const Error& error) {
      EXPECT_EQ(int(error.kind()), int(ErrorKind::not_found)) << error.what();
    }
    ++compared;
    if (one["source"].is_null() && files.templates.size() == 1) {  // ours takes a lone one, whatever its name
      EXPECT_EQ(ours, with_unix_lines(files.templates[0].source)) << one;
      ++lone;
      continue;
    }
    EXPECT_EQ(ours, one["source"].is_null() ? std::nullopt : std::optional(one["source"].get<std::string>())) << one;
  }
  EXPECT_GE(compared, 150);
  EXPECT_GE(lone, 6);
}

}  // namespace
}  // namespace hadal
