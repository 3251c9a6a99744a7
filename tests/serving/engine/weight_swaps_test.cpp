// Exchanges of weights in corners: those who wait in front of a text that must end first, and changes that fail.
#include <chrono>

#include "base/expect_error.h"
#include "engine/engine_testing.h"

namespace hadal {
namespace {

using testing::small_config;
using namespace engine_testing;

void scale(SmallModel& small, double factor) {  // exact, and back
  const Tensor kv_a = small.model.parameter("layers.1.attention.kv_a").value.plain;
  for (int64_t i = 0; i < kv_a.count(); ++i) set_element(kv_a, i, factor * element(kv_a, i));
}

EngineRequest request_of(RandomStream& random, int64_t n_prompt, int64_t n_new) {
  EngineRequest request;
  request.prompt = random_ids(random, n_prompt), request.max_tokens = n_new, request.sampling.seed = 3;
  return request;
}

// Two texts are out of the cache when weights shall be exchanged as soon as all that is being written has ended: the
// older one has no token yet, the younger one has. The younger one goes on past the older, which begins with the new.
TEST(WeightSwaps, ATextThatMustEndFirstPassesThoseWhoHaveNotBegun) {
  SmallModel small(small_config(), options_of());
  RandomStream random{21, stream_id("test.swaps"), 0};
  const std::vector<EngineRequest> requests = {request_of(random, 60, 20), request_of(random, 250, 5),
                                               request_of(random, 1, 100)};
  std::vector<Got> old, changed, got(3);
  for (const EngineRequest& request : requests) old.push_back(alone(small, request));
  scale(small, 2);
  for (const EngineRequest& request : requests) changed.push_back(alone(small, request));
  scale(small, 0.5);
  Engine engine(small.owned.exec, small.model, {.cache_blocks = 4, .step_tokens = 64});
  for (size_t i = 0; i < 3; ++i) engine.submit(into(requests[i], got[i]));
  while (engine.counts().preemptions < 2 && engine.step()) continue;
  ASSERT_EQ(engine.counts().running, 1);
  ASSERT_EQ(engine.counts().waiting, 2);
  ASSERT_FALSE(got[0].end.has_value());
  ASSERT_TRUE(got[1].ids.empty());
  ASSERT_FALSE(got[2].ids.empty());
  std::future<void> done = engine.swap_weights([&] { scale(small, 2); }, SwapWeights::finish);
  drain(engine);
  ASSERT_EQ(done.wait_for(std::chrono::seconds(0)), std::future_status::ready) << "the engine stands still";
  done.get();
  EXPECT_TRUE(got[0] == old[0]);
  EXPECT_TRUE(got[1] == changed[1]);
  EXPECT_TRUE(got[2] == old[2]);
}

// Nobody begins anew for weights that do not come.
TEST(WeightSwaps, AnExchangeThatFailsHappensToNobody) {
  SmallModel small(small_config(), options_of());
  RandomStream random{22, stream_id("test.swaps"), 0};
  const EngineRequest request = request_of(random, 70, 40);
  const Got expected = alone(small, request);
  for (const SwapWeights how : {SwapWeights::finish, SwapWeights::restart}) {
    Engine engine(small.owned.exec, small.model, {.cache_blocks = 8, .max_running = 1});
    Got first, second;
    int64_t restarts = 0;
    EngineRequest running = into(request, first), waiting = into(request, second);
    running.on_restart = waiting.on_restart = [&] { ++restarts; };
    engine.submit(running), engine.submit(waiting);
    for (int i = 0; i < 7; ++i) engine.step();
    ASSERT_EQ(first.ids.size(), 7u);
    std::future<void> done = engine.swap_weights([] { fail(ErrorKind::failed, "nobody waits for them"); }, how);
    engine.step();
    if (how == SwapWeights::restart) {
      EXPECT_EQ(first.ids.size(), 8u) << "it goes on at once";
    }
    drain(engine);
    EXPECT_ERROR(done.get(), ErrorKind::failed, "nobody waits for them");
    EXPECT_EQ(engine.weights_version(), 0);
    EXPECT_EQ(restarts, 0);
    EXPECT_TRUE(first == expected);
    EXPECT_TRUE(second == expected);
    EXPECT_EQ(engine.counts().cached_tokens, 64) << "what the first left in the cache is good";
  }
}

}  // namespace
}  // namespace hadal
