// Who reads how much in a step: short prompts do not wait for long ones, long ones are not starved, and what is being
// written goes on in every step.
#include <string>

#include "engine/engine_testing.h"
#include "engine/step_rows.h"

namespace hadal {
namespace {

using testing::small_config;
using namespace engine_testing;

// Requests with so many tokens left to read; 1: a text that is written.
std::vector<ActiveRequestPtr> running_with(const std::vector<int64_t>& left) {
  std::vector<ActiveRequestPtr> running;
  for (const int64_t n : left) {
    running.push_back(std::make_unique<ActiveRequest>());
    running.back()->tokens.resize(size_t(n));
  }
  return running;
}

TEST(FairSteps, HalfGoesToTheOldestPromptsTheRestToThoseWithTheLeastLeft) {
  using Rows = std::vector<int64_t>;
  auto running = running_with({1000, 1, 300, 30});
  EXPECT_EQ(rows_to_read(running, 101), (Rows{50, 1, 20, 30}));
  running[1]->drafts = {4, 5};  // they take rows too
  EXPECT_EQ(rows_to_read(running, 103), (Rows{50, 1, 20, 30}));
  EXPECT_EQ(rows_to_read(running, 10), (Rows{5, 1, 0, 5}));  // prompts go on however much is written
  EXPECT_EQ(rows_to_read(running, 5000), (Rows{1000, 1, 300, 30}));
  EXPECT_EQ(rows_to_read(running_with({1000, 400}), 1), (Rows{1, 0}));
  EXPECT_EQ(rows_to_read(running_with({20, 400, 0}), 100), (Rows{20, 80, 0}));
  EXPECT_EQ(rows_to_read(running_with({400, 400}), 100), (Rows{100, 0})) << "the older of two alike";
  std::vector<int64_t> many(300, 60);
  many[0] = 8000;
  EXPECT_EQ(rows_to_read(running_with(many), 512)[0], 256) << "whoever comes behind the oldest takes at most half";
}

TEST(FairSteps, AShortPromptIsAnsweredWhileALongOneIsRead) {
  SmallModel small(small_config(), options_of());
  RandomStream random{31, stream_id("test.fair"), 0};
  const auto request_of = [&](int64_t n_prompt, int64_t n_new) {
    EngineRequest request;
    request.prompt = random_ids(random, n_prompt), request.max_tokens = n_new;
    return request;
  };
  Engine engine(small.owned.exec, small.model, {.cache_blocks = 32, .step_tokens = 65});
  std::string order;  // of the tokens
  std::vector<EngineRequest> requests = {request_of(4, 40), request_of(500, 3), request_of(8, 2), request_of(30, 2)};
  std::vector<Got> got(requests.size());
  const auto submit = [&](size_t i) {
    EngineRequest asked = into(requests[i], got[i]);
    asked.on_token = [&, i, keep = asked.on_token](const ScoredToken& token) {
      return order += "wlsm"[i], keep(token);
    };
    engine.submit(asked);
  };
  submit(0);  // writes before the others come
  engine.step();
  for (size_t i = 1; i < requests.size(); ++i) submit(i);
  drain(engine);
  for (size_t i = 0; i < requests.size(); ++i) EXPECT_TRUE(got[i] == alone(small, requests[i])) << i;
  EXPECT_EQ(order.find("wws"), 0u) << order;              // in the very step in which it came
  EXPECT_LT(order.rfind('m'), order.find('l')) << order;  // both short ones are through before the long one says a word
  const size_t before_long = size_t(std::count(order.begin(), order.begin() + int64_t(order.find('l')), 'w'));
  EXPECT_GE(before_long, 500u / 64) << order;  // and the text goes on in each of its steps
  EXPECT_LE(before_long, 2u + 500 / 32) << order;
}

}  // namespace
}  // namespace hadal
