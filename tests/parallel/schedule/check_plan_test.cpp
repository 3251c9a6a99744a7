// Every schedule can be run, and the checker that says so refuses lists in which a fault was planted, by its name.
#include "schedule/check_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "base/expect_error.h"
#include "schedule/every_schedule.h"
#include "schedule/list_text.h"

namespace hadal {
namespace {

using namespace hadal::testing;
using enum ActionKind;

std::string title(const Pipeline& p) {
  return fmt::format("{} over {} ranks, {} micro-batches, {} chunks", schedule_name(p.schedule), p.n_ranks,
                     p.n_micro_batches, p.chunks);
}

TEST(EverySchedule, IsWholeMeetsItsMessagesAndNeverWaitsForEver) {
  for (ScheduleKind kind : kAllSchedules) {
    const bool two_ways = Pipeline{kind}.two_ways();
    for (const Pipeline& p : pipelines(kind, two_ways ? 16 : 9)) {
      EXPECT_NO_THROW(check_plan(make_plan(p))) << title(p);
    }
  }
  int dualpipes = 0;
  for (const Pipeline& p : pipelines(ScheduleKind::dualpipe, 16)) dualpipes += p.n_micro_batches >= 2 * p.n_ranks;
  EXPECT_EQ(dualpipes, 116) << "even P up to 16, even N from 2 P to 5 P";
}

TEST(EverySchedule, OfOneStageARankRunsWithSendsThatWaitForTheirReceiverToo) {
  const auto run = [](const Pipeline& p) { check_messages(p, slots_of(make_plan(p)), Sending::rendezvous); };
  for (ScheduleKind kind : {ScheduleKind::one_f_one_b, ScheduleKind::zb1p}) {
    for (const Pipeline& p : pipelines(kind, 8)) EXPECT_NO_THROW(run(p)) << title(p);
  }
  EXPECT_ERROR(run({ScheduleKind::interleaved, 2, 4, 2}), ErrorKind::internal,
               "rank 0 at slot 6 cannot end sending the gradient of stage 2, micro-batch 0",
               "rank 1 at slot 6 cannot end sending the gradient of stage 3, micro-batch 1");
  EXPECT_ERROR(run({ScheduleKind::dualpipe, 2, 4}), ErrorKind::internal,
               "rank 0 at slot 3 cannot end sending the activations of stage 0, micro-batch 2",
               "rank 1 at slot 3 cannot end sending the activations of stage 0, micro-batch 3");
}

// So a transport that keeps the order of each channel needs no names, if activations and gradients have one each.
TEST(EverySchedule, ReceivesMessagesOfAKindFromARankInTheOrderInWhichItSendsThem) {
  for (ScheduleKind kind : kAllSchedules) {
    for (const Pipeline& p : pipelines(kind, 8)) {
      std::map<std::tuple<int64_t, int64_t, MessageKind>, std::vector<size_t>> sent, received;
      for (const Slots& slots : slots_of(make_plan(p))) {
        for (const Slot& slot : slots) {
          for (const PipelineMessage& m : slot.sends) sent[{m.from, m.to, m.kind}].push_back(message_index(p, m));
          for (const PipelineMessage& m : slot.receives)
            received[{m.from, m.to, m.kind}].push_back(message_index(p, m));
        }
      }
      EXPECT_EQ(sent, received) << title(p);
    }
  }
}

TEST(EverySchedule, NamesTheWeightGradientThatWasDeferredFirst) {
  for (ScheduleKind kind : {ScheduleKind::zb1p, ScheduleKind::dualpipe, ScheduleKind::dualpipev}) {
    for (const Pipeline& p : pipelines(kind, 8)) {
      for (const Actions& list : make_plan(p).ranks) {
        Actions deferred;
        for (const Action& a : list) {
          if (a.kind == backward_input) deferred.push_back(a);
          if (a.kind != backward_weight) continue;
          ASSERT_FALSE(deferred.empty()) << title(p);
          deferred.front().kind = backward_weight;
          EXPECT_EQ(a, deferred.front()) << title(p);
          deferred.erase(deferred.begin());
        }
      }
    }
  }
}

// Stage after stage, each on the rank that says it holds it.
TEST(EverySchedule, ActionsBelongToStagesOfTheirRank) {
  for (ScheduleKind kind : kAllSchedules) {
    for (const Pipeline& p : pipelines(kind, 4)) {
      const PipelinePlan plan = make_plan(p);
      for (int64_t rank = 0; rank < p.n_ranks; ++rank) {
        const std::vector<int64_t> stages = p.stages_of_rank(rank);
        for (const Action& a : plan.ranks[size_t(rank)])
          EXPECT_EQ(std::count(stages.begin(), stages.end(), a.stage), 1);
      }
    }
  }
}

const Pipeline kFour{ScheduleKind::dualpipe, 4, 8};

// The place of an action in the text form of a rank's list, without '&'.
Actions::iterator find(PipelinePlan& plan, size_t rank, const std::string& text, int64_t nth = 0) {
  Actions& list = plan.ranks[rank];
  for (auto at = list.begin(); at != list.end(); ++at)
    if (action_text(plan.pipeline, *at) == text && nth-- == 0) return at;
  ADD_FAILURE() << "no " << text;
  return list.begin();
}

TEST(PlantedFaults, ALostWIsNamed) {
  PipelinePlan plan = make_plan(kFour);
  plan.ranks[1].pop_back();
  EXPECT_ERROR(check_plan(plan), ErrorKind::internal, "rank 1: stage 1 has no W of micro-batch 6");
}

TEST(PlantedFaults, ALostFAndALostBAreNamed) {
  PipelinePlan plan = make_plan(kFour);
  plan.ranks[2].erase(find(plan, 2, "F0.0"));
  EXPECT_ERROR(check_plan(plan), ErrorKind::internal, "rank 2: B0.0 (stage 2, micro-batch 0) has no F before it");
  plan = make_plan(kFour);
  plan.ranks[0].erase(find(plan, 0, "B1.3"));
  EXPECT_ERROR(check_plan(plan), ErrorKind::internal, "rank 0: stage 3 has no B of micro-batch 7");
}

TEST(PlantedFaults, AnActionTwiceIsNamed) {
  PipelinePlan plan = make_plan(kFour);
  plan.ranks[3].push_back(*find(plan, 3, "F1.1"));
  EXPECT_ERROR(check_plan(plan), ErrorKind::internal, "rank 3: F1.1 (stage 0, micro-batch 3) stands twice in the list");
  plan = make_plan(kFour);
  plan.ranks[3].push_back(plan.ranks[3].back());
  EXPECT_ERROR(check_plan(plan), ErrorKind::internal, "stands twice in the list");
}

TEST(PlantedFaults, SwappedDirectionsAreNamed) {
  PipelinePlan plan = make_plan(kFour);
  find(plan, 0, "F0.1")->direction = 1;
  EXPECT_ERROR(check_plan(plan), ErrorKind::internal, "rank 0: F1.1 (stage 0, micro-batch 2) goes in direction 1",
               "travels in direction 0");
  plan = make_plan(kFour);
  std::swap(plan.ranks[0], plan.ranks[3]);
  EXPECT_ERROR(check_plan(plan), ErrorKind::internal, "rank 0: F1.0 (stage 0, micro-batch 1) belongs to rank 3");
  plan = make_plan(kFour);
  for (Action& a : plan.ranks[0]) a.direction = 1 - a.direction, a.micro_batch ^= 1;
  EXPECT_ERROR(check_plan(plan), ErrorKind::internal, "belongs to rank 3");
}

TEST(PlantedFaults, AWrongPairIsNamed) {
  PipelinePlan plan = make_plan(kFour);
  find(plan, 0, "F0.0")->overlaps_next = true;
  EXPECT_ERROR(check_plan(plan), ErrorKind::internal, "F0.0", "first of a pair");
  plan = make_plan({ScheduleKind::one_f_one_b, 2, 4});
  find(plan, 1, "F0")->overlaps_next = true;
  EXPECT_ERROR(check_plan(plan), ErrorKind::internal, "F0", "no B of another micro-batch follows it");
}

TEST(PlantedFaults, OrderThatWaitsForEverIsNamedByRank) {
  PipelinePlan plan = make_plan({ScheduleKind::one_f_one_b, 2, 2});
  std::swap(plan.ranks[0][1], plan.ranks[0][2]);  // F0 B0 F1 B1: fine, only slower
  EXPECT_NO_THROW(check_plan(plan));
  plan.ranks[1] = {{forward, 1, 1}, {backward, 1, 1}, {forward, 1, 0}, {backward, 1, 0}};
  EXPECT_ERROR(check_plan(plan), ErrorKind::internal, "deadlock",
               "rank 0 at slot 1 waits for the gradient of stage 1, micro-batch 0",
               "rank 1 at slot 0 waits for the activations of stage 0, micro-batch 1");
  plan = make_plan({ScheduleKind::dualpipev, 2, 4});
  std::swap(*find(plan, 1, "F0.0"), *find(plan, 1, "F1.0"));
  EXPECT_ERROR(check_plan(plan), ErrorKind::internal,
               "rank 1: micro-batch 0 goes through stages 1 and 2 in the wrong order");
}

TEST(PlantedFaults, AMissingSendOrReceiveIsNamed) {
  const auto faulty = [](size_t rank, auto&& change) {
    std::vector<Slots> ranks = slots_of(make_plan(kFour));
    change(ranks[rank]);
    check_messages(kFour, ranks, Sending::buffered);
  };
  EXPECT_ERROR(faulty(1, [](Slots& slots) { slots[0].sends.clear(); }), ErrorKind::internal,
               "rank 2 waits for the activations of stage 1, micro-batch 0, which rank 1 never sends");
  EXPECT_ERROR(faulty(1, [](Slots& slots) { slots[0].receives.clear(); }), ErrorKind::internal,
               "rank 0 sends the activations of stage 0, micro-batch 0, which rank 1 never receives");
  EXPECT_ERROR(faulty(1, [](Slots& slots) { slots[2].sends.push_back(slots[0].sends[0]); }), ErrorKind::internal,
               "rank 1 sends the activations of stage 1, micro-batch 0 a second time");
  EXPECT_ERROR(faulty(1, [](Slots& slots) { slots[0].sends[0].from = 3; }), ErrorKind::internal,
               "rank 1 sends the activations of stage 1, micro-batch 0, which goes from rank 3 to rank 2");
}

TEST(PlantedFaults, NumbersOutsideOfThePipelineAreNamed) {
  PipelinePlan plan = make_plan(kFour);
  plan.ranks[0][0].stage = 4;
  EXPECT_ERROR(check_plan(plan), ErrorKind::internal, "rank 0: an action of stage 4, micro-batch 0; there are 4 and 8");
  plan = make_plan(kFour);
  plan.ranks.pop_back();
  EXPECT_ERROR(check_plan(plan), ErrorKind::internal, "3 lists for 4 ranks");
}

}  // namespace
}  // namespace hadal
