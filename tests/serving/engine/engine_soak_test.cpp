// The engine against an oracle, each request alone: random arrivals and cancellations over a cache of a few blocks,
// with preemptions, evictions of shared blocks and drafts that are right now and then.
#include <memory>

#include "engine/engine_testing.h"

namespace hadal {
namespace {

using namespace engine_testing;

struct Event {
  EngineRequest request;
  std::optional<Got> expected;
  Got got;
  uint64_t id = 0;
  bool cancelled = false;
};

struct Soak {
  int64_t blocks = 6, max_running = 5, step_tokens = 90;
  bool prefix_cache = true;
  int64_t drafts = 0;
  int64_t requests = 60;
};

// Random requests over few prompts that begin alike; some are cancelled. Every one that ends gets what it gets alone.
EngineCounts soak(SmallModel& small, const Soak& how, uint64_t seed, const std::string& trace) {
  SCOPED_TRACE(trace);
  RandomStream random{seed, stream_id("test.engine.soak"), 0};
  const std::vector<int32_t> trunk = random_ids(random, 300);
  Engine engine(small.owned.exec, small.model,
                {.cache_blocks = how.blocks,
                 .max_running = how.max_running,
                 .step_tokens = how.step_tokens,
                 .prefix_cache = how.prefix_cache,
                 .drafts = how.drafts});
  std::vector<std::unique_ptr<Event>> events;
  int64_t cancels = 0, ended = 0;
  const auto arrive = [&] {
    auto event = std::make_unique<Event>();
    EngineRequest& r = event->request;
    const int64_t shared = int64_t(random.below(200)), own = 1 + int64_t(random.below(40));
    r.prompt.assign(trunk.begin(), trunk.begin() + shared);
    for (const int32_t id : random_ids(random, own)) r.prompt.push_back(id);
    r.max_tokens = int64_t(random.below(120));
    r.max_tokens = std::min(r.max_tokens, how.blocks * 64 - int64_t(r.prompt.size()));
    r.prompt_log_probs = random.below(4) == 0;
    r.n_top = int64_t(random.below(2));
    r.sampling.seed = random.below(1000), r.sampling.temperature = random.below(3) == 0 ? 0.0 : 0.9;
    if (random.below(3) == 0) r.sampling.top_p = 0.8;
    if (random.below(3) == 0) r.sampling.repetition_penalty = 1.2;
    if (random.below(3) == 0) r.stop = random_ids(random, 1);
    if (random.below(2) == 0)  // so likely that a module guesses it now and then, or always
      r.sampling.logit_bias = {{5, random.below(2) == 0 ? 4.0 : 100.0}};
    event->expected = alone(small, r);
    event->id = engine.submit(into(r, event->got));
    events.push_back(std::move(event));
  };
  for (int64_t step = 0; ended < how.requests; ++step) {
    if (int64_t(events.size()) < how.requests && random.below(3) == 0) arrive();
    if (!events.empty() && random.below(25) == 0) {
      Event& event = *events[size_t(random.below(events.size()))];
      if (!event.got.end) engine.cancel(event.id), event.cancelled = true, ++cancels;
    }
    engine.step();
    ended = std::count_if(events.begin(), events.end(), [](const auto& e) { return e->got.end.has_value(); });
    if (step > 100000) ADD_FAILURE() << "it never ends";
    if (::testing::Test::HasFailure()) break;
  }
  for (const auto& event : events) {
    const Got &got = event->got, &expected = *event->expected;
    if (!got.end) continue;
    if (got.end->reason != EndReason::cancelled) {
      EXPECT_TRUE(got == expected) << "request " << event->id;
      continue;
    }
    EXPECT_TRUE(event->cancelled) << "request " << event->id;
    EXPECT_TRUE(std::equal(got.ids.begin(), got.ids.end(), expected.ids.begin()));  // a beginning of it
  }
  EXPECT_GT(cancels, 0);
  EXPECT_EQ(engine.counts().running + engine.counts().waiting + engine.counts().blocks_held, 0);
  if (!how.prefix_cache) {
    EXPECT_EQ(engine.counts().blocks_used, 0);
  }
  return engine.counts();
}

TEST(EngineSoak, EveryRequestGetsWhatItGetsAloneFromACacheInFp8) {
  ModelOptions options = options_of(Precision::bf16);
  options.cache = CacheFormat::fp8;
  SmallModel small(small_config(), options);
  const EngineCounts counts = soak(small, {.drafts = 1}, 5, "cache in fp8");
  EXPECT_GT(counts.preemptions, 0);
  EXPECT_GT(counts.cached_tokens, 0);
  EXPECT_GT(counts.accepted_tokens, 0);
}

TEST(EngineSoak, EveryRequestGetsWhatItGetsAlone) {
  for (const AttentionForm form : {AttentionForm::absorbed, AttentionForm::up_projected}) {
    SmallModel small(small_config(), options_of(Precision::bf16, form));
    const EngineCounts narrow = soak(small, {}, 1, "few blocks");
    EXPECT_GT(narrow.preemptions, 0);
    EXPECT_GT(narrow.cached_tokens, 0);
    EXPECT_GT(narrow.evictions, 0);
    const EngineCounts wide = soak(small, {.blocks = 40, .max_running = 16, .step_tokens = 200}, 2, "many blocks");
    EXPECT_EQ(wide.preemptions, 0);
    EXPECT_GT(wide.cached_tokens, 0);
    const EngineCounts apart = soak(small, {.prefix_cache = false}, 3, "nothing shared");
    EXPECT_EQ(apart.cached_tokens, 0);
    EXPECT_GT(apart.preemptions, 0);
    EXPECT_EQ(apart.drafted_tokens, 0);
    const EngineCounts drafted = soak(small, {.drafts = 1}, 4, "drafts");
    EXPECT_GT(drafted.preemptions, 0);
    EXPECT_GT(drafted.accepted_tokens, drafted.drafted_tokens / 10);  // some were right, some were not
    EXPECT_LT(drafted.accepted_tokens, drafted.drafted_tokens * 9 / 10);
  }
}

}  // namespace
}  // namespace hadal
