// Tokens and settings in the files beside tokenizer.json: what transformers' AutoTokenizer makes of 600 random sets of
// files, and what we do.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/json.h"
#include "base/testing.h"
#include "text/tokenizer.h"

namespace hadal {
namespace {

using SortedJson = nlohmann::json;

SortedJson added_json(const Tokenizer& tokenizer) {
  SortedJson all = SortedJson::array();
  for (const AddedToken& token : tokenizer.added_tokens())
    all.push_back({{"id", token.id},
                   {"content", token.content},
                   {"special", token.special},
                   {"normalized", token.normalized},
                   {"single_word", token.single_word},
                   {"lstrip", token.lstrip},
                   {"rstrip", token.rstrip}});
  return all;
}

SortedJson id_json(std::optional<int32_t> id) { return id ? SortedJson(*id) : SortedJson(); }

std::string all_files(const std::string& directory) {
  std::string text;
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"})
    if (std::filesystem::exists(directory + "/" + name))
      text += fmt::format("{}: {}\n", name, read_file(directory + "/" + name));
  return text + "added_tokens: " + json_text(read_json(directory + "/tokenizer.json")["added_tokens"]);
}

TEST(TokenizerSettingsPeer, AutoTokenizerReadsTheSame) {
  testing::TempDir directory;
  const std::string root = HADAL_SOURCE_DIR;
  const std::string command = fmt::format(
      "'{0}/.venv/bin/python' '{0}/tests/oracle/tokenizer_settings_peer.py' make '{1}/models' 600 '{1}/said'", root,
      directory.path());
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  std::ifstream said(directory / "said");
  int n = 0;
  for (std::string line; std::getline(said, line); ++n) {
    const SortedJson theirs = parse_json<SortedJson>(line, "a line");
    const std::string place = fmt::format("{}/models/{}", directory.path(), n);
    SCOPED_TRACE(fmt::format("{}\n{}", n, all_files(place)));
    const Tokenizer ours = Tokenizer::load(place);
    ASSERT_EQ(added_json(ours), theirs["added"]);
    const auto ids = ours.encode(theirs["text"].get<std::string>(), SpecialTokens::parse);
    ASSERT_EQ(ids, theirs["ids"].get<std::vector<int32_t>>());
    ASSERT_EQ(ours.decode(ids, true), theirs["skipped"].get<std::string>());
    const SortedJson names = {id_json(ours.bos_id()), id_json(ours.eos_id()), id_json(ours.pad_id())};
    ASSERT_EQ(names, theirs["names"]);
  }
  EXPECT_EQ(n, 600);
}

}  // namespace
}  // namespace hadal
