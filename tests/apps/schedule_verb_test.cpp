// hadal schedule: lists, figures, pictures, and numbers that do not fit.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "base/expect_words.h"
#include "base/files.h"
#include "base/json.h"

namespace hadal {
namespace {

std::string shown(const std::string& arguments) {
  const CommandResult result = run_hadal("schedule " + arguments);
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  return result.out;
}

TEST(ScheduleVerb, PrintsListsBubbleAndMemory) {
  expect_words(shown("dualpipe"),
               {"F0.0 F0.1 F0.2 F1.0 Bi1.0 W F1.1 F0.3&B1.1 F1.2&B0.0 B1.2 F1.3&B0.1 B1.3 Bi0.2 W Bi0.3 W",
                "step       26\n", "bubble     2 on the worst rank, 7.7 % of the step",
                "published  (P/2 - 1)(F&B + B - 3W) = 2\n", "activations of 5 micro-batches at most, published 5"});
  expect_words(shown("dualpipe --pp 8 --micro-batches 20 --costs 1,2,1,2.6"),
               {"step       60.4\n", "bubble     4.8 on the worst rank", "= 4.8\n", "published 9\n"});
  expect_words(shown("1f1b"), {"step       33\n", "bubble     9 ", "(P - 1)(F + B) = 9\n", "F0 B0 F1 B1"});
  expect_words(shown("zb1p"), {"step       27\n", "(P - 1)(F + B - 2W) = 3\n"});
  expect_words(shown("zb1p --costs 1,2.2,0.8"), {"an estimate at these costs"});
  expect_words(shown("interleaved --chunks 2"),
               {"step       28.5\n", "a rank's 2 stages share them", "= 4.5", "at most, published 5.5"});
  expect_words(shown("dualpipe --message 0.1"), {"step       26.9\n", "a message 0.1"});
}

TEST(ScheduleVerb, DrawsRowsOfCharactersForLongLists) {
  const std::string text = shown("dualpipe --pp 16 --micro-batches 120");
  EXPECT_EQ(text.find("F0.0"), std::string::npos);
  expect_words(text, {"rank 15   ", "a character is 3.4 of time", "step       374\n"});
  expect_words(shown("dualpipe --pp 16 --micro-batches 120 --lists"), {"F0.0 F0.1"});
  expect_words(shown("1f1b --pp 2 --micro-batches 2"), {"rank 0    FF..BB.BB\n", "rank 1    .FBBFBB..\n"});
}

TEST(ScheduleVerb, SaysEveryActionAsJson) {
  const auto json = parse_json<nlohmann::json>(shown("dualpipe --json"), "what it said");
  EXPECT_EQ(json["makespan"], 26.0);
  EXPECT_EQ(json["worst_idle"], 2.0);
  EXPECT_EQ(json["published_bubble"], 2.0);
  EXPECT_EQ(json["most_in_flight"], 5);
  ASSERT_EQ(json["per_rank"].size(), 4u);
  const auto& pair = json["per_rank"][0]["actions"][7];
  EXPECT_EQ(pair["kind"], "F");
  EXPECT_EQ(pair["overlaps_next"], true);
  EXPECT_EQ(pair["micro_batch"], 6);
  const auto& w = json["per_rank"][0]["actions"][5];
  EXPECT_EQ(w["kind"], "W");
  EXPECT_EQ(w["stage"], 3);
  EXPECT_EQ(w["micro_batch"], 1);
}

TEST(ScheduleVerb, WritesAPictureThatStandsAlone) {
  const std::filesystem::path file = std::filesystem::temp_directory_path() / "hadal schedule verb.svg";
  expect_words(shown("dualpipe --pp 8 --micro-batches 20 --svg '" + file.string() + "'"),
               {"picture    " + file.string()});
  const std::string svg = read_file(file);
  std::filesystem::remove(file);
  expect_words(svg, {"<svg xmlns=\"http://www.w3.org/2000/svg\"", "dualpipe, 8 ranks, 20 micro-batches", "rank 7",
                     "prefers-color-scheme:dark", "F&amp;B", "Bi (inputs)"});
  EXPECT_LT(svg.size(), 40'000u);
  EXPECT_EQ(run_hadal("schedule 1f1b --svg /nowhere/x.svg").code, 1);
}

TEST(ScheduleVerb, PicturesOfTheDocumentationAreItsOwn) {
  const std::filesystem::path file = std::filesystem::temp_directory_path() / "hadal schedule docs.svg";
  for (const std::string arguments :
       {"1f1b", "interleaved", "zb1p", "dualpipe --pp 8 --micro-batches 20", "dualpipev"}) {
    const std::string picture = "/docs/pictures/" + arguments.substr(0, arguments.find(' ')) + ".svg";
    shown(arguments + " --svg '" + file.string() + "'");
    EXPECT_EQ(read_file(file), read_file(HADAL_SOURCE_DIR + picture)) << "hadal schedule " << arguments << " --svg";
  }
  std::filesystem::remove(file);
}

TEST(ScheduleVerb, NumbersThatDoNotFitAreWrongUse) {
  const auto refused = [](const std::string& arguments, const std::vector<std::string>& words) {
    const CommandResult result = run_hadal("schedule " + arguments);
    EXPECT_EQ(result.code, 2) << result.out;
    EXPECT_EQ(result.out, "");
    expect_words(result.err, words);
  };
  refused("dualpipe --pp 7 --micro-batches 20", {"got 7", "6 and 8 are the nearest"});
  refused("dualpipe --pp 8 --micro-batches 12", {"needs 16 micro-batches or more", "got 12", "enough for 6 ranks"});
  refused("dualpipe --pp 8 --micro-batches 21", {"20 and 22 are the nearest"});
  refused("interleaved --pp 8 --micro-batches 20", {"16 and 24 are the nearest"});
  refused("zb1p --chunks 2", {"no chunks to choose"});
  refused("1f1b --pp 0", {"--pp: 0 is not above 0"});
  refused("dualpip", {"did you mean 'dualpipe'?"});
  refused("1f1b --costs 1,2", {"2 numbers", "F,B,W"});
  refused("1f1b --costs 1,x,1", {"'x' is not a finite number"});
  refused("1f1b --costs 1,2,3", {"W = 3", "0 to 2"});
  refused("1f1b --costs 0,2,1", {"F = 0"});
  refused("1f1b --message=-1", {"--message: -1 is below 0"});
}

}  // namespace
}  // namespace hadal
