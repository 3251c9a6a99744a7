// What `hadal train --trace FILE` writes of a run with F&B pairs, read back: in every pair each micro-batch's rows
// travel while the other computes. The verb runs in this process, so that tools/mutants can plant a fault under it.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>

#include "apps/cli.h"
#include "apps/small_run.h"
#include "base/json.h"
#include "config/config_io.h"
#include "layout/placement.h"
#include "train/pair_overlap.h"

namespace hadal {
namespace {

using testing::not_overlapped;

constexpr int64_t kMicroBatches = 8;  // of each of two data ranks
// Stages that are alike: each layer has experts, and these are larger than the head, which would take a layer's place.
// Else one half of a pair is done before the other.
constexpr int64_t kLayers = 4;

struct Trace {
  std::deque<std::string> names;                       // that events point to
  std::map<int64_t, std::vector<PieceEvent>> of_rank;  // in the order in which they began
};

Trace read_trace(const std::filesystem::path& file) {
  Trace trace;
  const auto json = parse_json(read_file(file), "the trace");
  for (const auto& e : json.at("traceEvents")) {
    if (e.at("ph") != "X") continue;
    const std::string name = e.at("name");
    trace.names.push_back(name.substr(0, name.size() - 2));
    const double begin = e.at("ts"), duration = e.at("dur");
    trace.of_rank[e.at("tid")].push_back({.piece = trace.names.back().c_str(),
                                          .part = name.back(),
                                          .stage = e.at("args").at("stage"),
                                          .micro_batch = e.at("args").at("micro_batch"),
                                          .traffic = e.at("cat") == "traffic",
                                          .begin = begin,
                                          .end = begin + duration});
  }
  for (auto& [rank, events] : trace.of_rank)
    std::stable_sort(events.begin(), events.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
  return trace;
}

// The lists of a step's actions, by pipeline seat.
std::vector<Actions> lists_of(const std::string& layout) {
  ModelConfig model;
  model.vocab_size = 300, model.n_layers = kLayers, model.n_dense_layers = 0, model.n_routed_experts = 4;
  return make_plan(Placement(model, parse_layout(layout)).pipeline(kMicroBatches)).ranks;
}

// What the same rank would have done one after the other: of the pieces of a pair, those of F behind those of B.
std::vector<PieceEvent> without_overlap(std::vector<PieceEvent> events, const Actions& list) {
  for (size_t i = 0; i + 1 < list.size(); ++i) {
    if (!list[i].overlaps_next) continue;
    const Action &f = list[i], &b = list[i + 1];
    const auto of = [](const PieceEvent& e, const Action& action, bool forward) {
      return e.stage == action.stage && e.micro_batch == action.micro_batch && (e.part == 'F') == forward;
    };
    for (auto begin = events.begin(); begin != events.end();) {  // of one step after the other
      const auto in_pair = [&](const PieceEvent& e) { return of(e, f, true) || of(e, b, false); };
      begin = std::find_if(begin, events.end(), in_pair);
      const auto end = std::find_if_not(begin, events.end(), in_pair);
      std::stable_partition(begin, end, [&](const PieceEvent& e) { return of(e, b, false); });
      begin = end;
    }
  }
  return events;
}

void train_with_trace(const SmallRun& small, const std::string& layout, const std::filesystem::path& file) {
  std::vector<std::string> words = {"hadal", "train", small.config().string(), "--quiet", "--steps", "2"};
  for (const auto& [option, value] : {std::pair{"--text", small.text().string()},
                                      {"--run", small.run().string()},
                                      {"--layout", layout},
                                      {"--trace", file.string()}})
    words.insert(words.end(), {option, value});
  for (const std::string& setting :
       {std::string("train.batch_ramp=[]"), fmt::format("train.batch_sequences={}", 2 * kMicroBatches),
        std::string("train.micro_batch_sequences=1"), fmt::format("model.n_layers={}", kLayers),
        std::string("model.n_dense_layers=0"), std::string("model.expert_ffn_size=64"), std::string("model.n_mtp=0")})
    words.insert(words.end(), {"--set", setting});
  std::vector<const char*> arguments;
  for (const std::string& word : words) arguments.push_back(word.c_str());
  ::testing::internal::CaptureStdout();
  const int code = Cli().run(int(arguments.size()), arguments.data());
  const std::string said = ::testing::internal::GetCapturedStdout();
  EXPECT_EQ(code, kExitFine) << said;
}

class TraceOfPairs : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Schedules, TraceOfPairs, ::testing::Values("dualpipe", "dualpipev"));

TEST_P(TraceOfPairs, ShowsEachAllToAllUnderTheOtherMicroBatch) {
  const SmallRun small;
  const std::string layout = std::string("dp=2,ep=2,pp=2,schedule=") + GetParam();
  train_with_trace(small, layout, small.root() / "trace.json");
  const std::vector<Actions> lists = lists_of(layout);
  const Trace trace = read_trace(small.root() / "trace.json");
  ASSERT_EQ(trace.of_rank.size(), 4u);
  for (const auto& [rank, events] : trace.of_rank) {
    const Actions& list = lists[size_t(rank / 2)];
    const auto pairs = std::count_if(list.begin(), list.end(), [](const Action& a) { return a.overlaps_next; });
    ASSERT_GT(pairs, 0);
    EXPECT_EQ(not_overlapped(events, list), "") << "rank " << rank;
    EXPECT_NE(not_overlapped(without_overlap(events, list), list), "") << "the control: one after the other";
  }
}

}  // namespace
}  // namespace hadal
