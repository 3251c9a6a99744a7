// Rules beside datatrove's filters over 6,000 documents, made and mutated: the same verdict, and the same first reason.
#include "data/quality_rules.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "base/json.h"
#include "data/c4_lines.h"
#include "data/data_testing.h"

namespace hadal::data {
namespace {

TEST(QualityRulesPeer, RefuseWhatDatatroveRefusesForTheSameFirstReason) {
  const std::string python = std::string(HADAL_SOURCE_DIR) + "/.venv/bin/python";
  if (!std::filesystem::exists(python)) GTEST_SKIP() << "no .venv in the source directory; ./setup makes it";
  TempDir dir;
  const std::string command =
      fmt::format("'{}' -B '{}/tests/oracle/quality_rules.py' '{}'", python, HADAL_SOURCE_DIR, dir.path().string());
  ASSERT_EQ(std::system(command.c_str()), 0);
  std::istringstream lines(read_file(dir / "documents.jsonl"));
  int64_t documents = 0, left_out = 0, wrong = 0;
  std::map<std::string, int64_t> met;
  for (std::string line; std::getline(lines, line);) {
    const auto document = parse_json<nlohmann::json>(line, "a document");
    const std::string text = document.at("text");
    ++documents;
    for (const char* set : {"gopher_repetition", "gopher_quality", "c4", "fineweb"}) {
      if (document.at(set).is_null()) {  // datatrove divides by nothing
        ++left_out;
        continue;
      }
      SourceConfig source;
      source.rules = {set};
      std::string left = text;
      const auto refusal = QualityRules(source).judge(left);
      const std::string ours = refusal ? refusal->rule : "", theirs = document.at(set);
      ++met[theirs];
      wrong += ours != theirs;
      if (wrong <= 10) {
        EXPECT_EQ(ours, theirs) << set << ", value " << (refusal ? refusal->value : 0) << ": " << text.substr(0, 300);
      }
      if (ours.empty() && std::string(set) == "c4") {
        EXPECT_EQ(left, document.at("left"));
      }
    }
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(documents, 6000);
  EXPECT_LE(left_out, documents / 50);
  EXPECT_GE(met.size(), 28u);  // reasons, and none
}

}  // namespace
}  // namespace hadal::data
