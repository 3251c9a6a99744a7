// DualPipe's lists against published counts and written-out vectors.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <sstream>

#include "schedule/list_text.h"
#include "schedule/pipeline.h"

namespace hadal {
namespace {

using enum ActionKind;

std::string text_of(const PipelinePlan& plan, size_t rank) { return list_text(plan.pipeline, plan.ranks[rank]); }

// What the report's eight steps repeat, without numbers, and where in the sixth the Bi begin.
constexpr const char* kSteps[] = {"F0", "F0 F1", "Bi1 W F1", "F0&B1 F1&B0", "B1 F1&B0", "B1 B0", "W Bi0", "W"};

std::vector<std::string> words_of(const std::array<int, 8>& counts, const std::vector<std::string>& sixth,
                                  bool apart_first) {
  std::vector<std::string> words;
  for (size_t step = 0; step < 8; ++step) {
    for (int i = 0; i < counts[step]; ++i) {
      std::istringstream line(step == 5                            ? sixth[size_t(i)]
                              : step == 3 && i == 0 && apart_first ? "F0 B1 F1&B0"
                                                                   : kSteps[step]);
      for (std::string word; line >> word;) words.push_back(word);
    }
  }
  return words;
}

// Numbers behind the names: the n-th F0 is F0.n; B and Bi of a direction share a count.
std::string numbered(const std::vector<std::string>& words) {
  std::map<std::string, int> next;
  const auto name = [&](const std::string& word) {
    if (word == "W") return word;
    const std::string key = std::string(1, word[0]) + word.back();
    return word + "." + std::to_string(next[key]++);
  };
  std::string text;
  for (const std::string& word : words) {
    const size_t cut = word.find('&');
    text += (text.empty() ? "" : " ") + name(word.substr(0, cut));
    if (cut != std::string::npos) text += "&" + name(word.substr(cut + 1));
  }
  return text;
}

TEST(DualPipe, FourRanksEightMicroBatchesWrittenOut) {
  const PipelinePlan plan = make_plan({ScheduleKind::dualpipe, 4, 8});
  EXPECT_EQ(text_of(plan, 0),
            "F0.0 F0.1 F0.2 F1.0 Bi1.0 W F1.1 F0.3&B1.1 F1.2&B0.0 B1.2 F1.3&B0.1 B1.3 Bi0.2 W Bi0.3 W");
  EXPECT_EQ(text_of(plan, 1), "F0.0 F1.0 F0.1 F1.1 F0.2 B1.0 F1.2&B0.0 F0.3&B1.1 F1.3&B0.1 B1.2 B0.2 Bi1.3 Bi0.3 W W");
  EXPECT_EQ(text_of(plan, 2), "F1.0 F0.0 F1.1 F0.1 F1.2 B0.0 F0.2&B1.0 F1.3&B0.1 F0.3&B1.1 B0.2 B1.2 Bi0.3 Bi1.3 W W");
  EXPECT_EQ(text_of(plan, 3),
            "F1.0 F1.1 F1.2 F0.0 Bi0.0 W F0.1 F1.3&B0.1 F0.2&B1.0 B0.2 F0.3&B1.1 B0.3 Bi1.2 W Bi1.3 W");
}

TEST(DualPipe, EightRanksTwentyMicroBatchesFollowTheStepCounts) {
  const PipelinePlan plan = make_plan({ScheduleKind::dualpipe, 8, 20});
  const std::string b = "B1 B0", half = "B1 Bi0", bi = "Bi1 Bi0";
  EXPECT_EQ(text_of(plan, 0), numbered(words_of({6, 1, 3, 3, 3, 1, 3, 1}, {half}, false)));
  EXPECT_EQ(text_of(plan, 1), numbered(words_of({4, 2, 2, 4, 2, 2, 2, 2}, {b, bi}, false)));
  EXPECT_EQ(text_of(plan, 2), numbered(words_of({2, 3, 1, 5, 1, 3, 1, 3}, {b, half, bi}, false)));
  EXPECT_EQ(text_of(plan, 3), numbered(words_of({0, 4, 0, 6, 0, 4, 0, 4}, {b, b, bi, bi}, true)));
  EXPECT_EQ(text_of(plan, 0),
            "F0.0 F0.1 F0.2 F0.3 F0.4 F0.5 F0.6 F1.0 Bi1.0 W F1.1 Bi1.1 W F1.2 Bi1.2 W F1.3 F0.7&B1.3 F1.4&B0.0 "
            "F0.8&B1.4 F1.5&B0.1 F0.9&B1.5 F1.6&B0.2 B1.6 F1.7&B0.3 B1.7 F1.8&B0.4 B1.8 F1.9&B0.5 B1.9 Bi0.6 W Bi0.7 W "
            "Bi0.8 W Bi0.9 W");
}

TEST(DualPipe, TheOtherHalfOfTheRanksIsItsMirrorImage) {
  for (int64_t n_ranks : {2, 6, 8}) {
    const PipelinePlan plan = make_plan({ScheduleKind::dualpipe, n_ranks, 2 * n_ranks + 4});
    for (size_t rank = 0; rank < size_t(n_ranks); ++rank) {
      Actions mirrored = plan.ranks[size_t(n_ranks) - 1 - rank];
      for (Action& a : mirrored) a.direction = 1 - a.direction, a.micro_batch ^= 1;
      EXPECT_EQ(mirrored, plan.ranks[rank]) << "rank " << rank << " of " << n_ranks;
    }
  }
}

TEST(DualPipe, AMicroBatchNumberSaysItsDirectionAndItsPlaceThere) {
  const Pipeline p{ScheduleKind::dualpipe, 4, 8};
  const Actions list = make_plan(p).ranks[0];
  EXPECT_EQ(list[1], (Action{forward, 0, 2, 0}));  // F0.1
  EXPECT_EQ(list[3], (Action{forward, 3, 1, 1}));  // F1.0, on the stage that rank 0 holds for the way back
  EXPECT_EQ(list[5], (Action{backward_weight, 3, 1, 1}));
  EXPECT_EQ(list[7], (Action{forward, 0, 6, 0, true}));  // F0.3&
  EXPECT_EQ(list[8], (Action{backward, 3, 3, 1}));       // B1.1
  EXPECT_EQ(p.stages_of_rank(1), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(p.stages_of_rank(3), (std::vector<int64_t>{3, 0}));
  for (int64_t m = 0; m < 8; ++m) EXPECT_EQ(2 * p.number_in_direction(m) + p.direction(0, m), m);
}

// F alone, F&B, Bi, W, whole B alone.
std::array<int, 5> counts_of(const Actions& list) {
  std::array<int, 5> counts{};
  for (size_t i = 0; i < list.size(); ++i) {
    const bool pair = list[i].overlaps_next, second = i > 0 && list[i - 1].overlaps_next;
    if (pair) ++counts[1];
    if (pair || second) continue;
    ++counts[list[i].kind == forward           ? 0
             : list[i].kind == backward_input  ? 2
             : list[i].kind == backward_weight ? 3
                                               : 4];
  }
  return counts;
}

TEST(DualPipe, ActionsOfTheReportsOwnSize) {
  const PipelinePlan plan = make_plan({ScheduleKind::dualpipe, 16, 120});
  for (int r = 0; r < 16; ++r) {
    const int place = std::min(r, 15 - r), middle = place == 7;
    EXPECT_EQ(counts_of(plan.ranks[size_t(r)]),
              (std::array<int, 5>{23 - place + middle, 97 + place - middle, 15 - place, 15 - place, 8 + middle}))
        << "rank " << r;
  }
}

TEST(DualPipeV, IsTheSameListCutInHalf) {
  const PipelinePlan v = make_plan({ScheduleKind::dualpipev, 4, 10}),
                     whole = make_plan({ScheduleKind::dualpipe, 8, 20});
  for (size_t rank = 0; rank < 4; ++rank) EXPECT_EQ(text_of(v, rank), text_of(whole, rank));
  EXPECT_EQ(v.pipeline.n_stages(), 8);
  EXPECT_EQ(v.pipeline.stages_of_rank(1), (std::vector<int64_t>{1, 6}));
  EXPECT_EQ(v.ranks[3][1], (Action{forward, 4, 0, 1})) << "the turn: what stage 3 made goes on in stage 4 of its rank";
}

}  // namespace
}  // namespace hadal
