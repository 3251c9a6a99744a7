// Faults end the requests that they belong to, with a reason, and no others: numbers that are not finite, forwards,
// drafts and callers that fail.
#include <cmath>
#include <stdexcept>

#include "base/testing.h"
#include "engine/engine_testing.h"

namespace hadal {
namespace {

using testing::small_config;
using namespace engine_testing;

// NaN in the latents of one text, of its prompt or of what it writes, ends that text and says where; neighbours in the
// same step, drafting or not, and those that get its blocks afterwards, go on as if alone.
TEST(EngineFaults, AnAnswerThatIsNotFiniteEndsItsRequestAlone) {
  for (const auto& [precision, isa] : testing::every_arithmetic()) {
    for (const AttentionForm form : {AttentionForm::absorbed, AttentionForm::up_projected}) {
      SmallModel small(small_config(), options_of(precision, form), 2, isa);
      const Tensor embedding = small.model.parameter("embedding").value.plain;
      for (int64_t c = 0; c < embedding.cols(); ++c) set_element(embedding, 36 * embedding.cols() + c, std::nan(""));
      RandomStream random{12, stream_id("test.engine"), 0};
      EngineRequest good, bad_prompt, bad_text;
      good.prompt = random_ids(random, 70, 36), good.max_tokens = 40, good.allowed_ids = 36;
      bad_prompt.prompt = random_ids(random, 100, 36), bad_prompt.prompt[80] = 36, bad_prompt.max_tokens = 20;
      bad_text = good;  // whose first token is the one with NaN
      bad_text.allowed_ids = 0, bad_text.sampling.logit_bias = {{36, 1e6}};
      const Got expected = alone(small, good);
      Engine engine(small.owned.exec, small.model, {.cache_blocks = 8, .step_tokens = 90, .drafts = 3});
      Got first, neighbour, b, c, later;
      engine.submit(into(good, first));
      for (int i = 0; i < 4; ++i) engine.step();  // it writes already
      engine.submit(into(bad_prompt, b)), engine.submit(into(bad_text, c)), engine.submit(into(good, neighbour));
      drain(engine);
      engine.submit(into(good, later));  // in blocks that were theirs
      drain(engine);
      for (const Got* got : {&first, &neighbour, &later}) EXPECT_TRUE(*got == expected);
      for (const Got* got : {&b, &c}) {
        ASSERT_EQ(got->end->reason, EndReason::failed);
        EXPECT_EQ(got->end->error_kind, ErrorKind::failed);
        EXPECT_NE(got->end->error.find("damaged or diverged"), std::string::npos) << got->end->error;
      }
      EXPECT_EQ(b.end->error.find("at position 100: "), 0u) << b.end->error;
      EXPECT_EQ(c.end->error.find("at position 71: "), 0u) << c.end->error;
      EXPECT_EQ(c.ids, std::vector<int32_t>{36});
    }
  }
}

// A forward that fails is made again for each text alone: only those end whose own fails too.
TEST(EngineFaults, AStepThatFailsEndsOnlyWhomItFailsAlone) {
  SmallModel small(small_config(), options_of());
  EngineRequest request;
  request.prompt = {3, 1, 4}, request.max_tokens = 20;
  const Got expected = alone(small, request);
  int64_t forwards = 0;
  std::vector<int64_t> failing;
  small.model.parameter("layers.1.attention.kv_a").await_value = [&](const Exec&) {
    for (const int64_t one : failing)
      if (one == forwards) return ++forwards, fail(ErrorKind::out_of_memory, "no room"), false;
    return ++forwards, false;
  };
  std::vector<Got> got(3);
  Engine engine(small.owned.exec, small.model, {.cache_blocks = 8, .drafts = 1});
  for (Got& one : got) engine.submit(into(request, one));
  for (int i = 0; i < 4; ++i) engine.step();
  const int64_t now = forwards;
  failing = {now, now + 2};  // all together; then the second of three alone
  drain(engine);
  EXPECT_TRUE(got[0] == expected);
  EXPECT_TRUE(got[2] == expected);
  EXPECT_EQ(got[1].end->reason, EndReason::failed);
  EXPECT_EQ(got[1].end->error, "no room");
  EXPECT_EQ(got[1].end->error_kind, ErrorKind::out_of_memory);
  int64_t drafts = 0;
  const auto drafted = [&] { return engine.counts().drafts.all_tried(); };
  small.model.parameter("layers.3.attention.kv_a").await_value = [&](const Exec&) {
    if (++drafts == 5) fail(ErrorKind::out_of_memory, "no room");
    return false;
  };
  failing.clear();
  Got undrafted;
  const int64_t drafted_before = drafted();
  engine.submit(into(request, undrafted));
  drain(engine);
  EXPECT_TRUE(undrafted == expected) << "a draft that cannot be made ends no text";
  EXPECT_EQ(drafts, 5);
  EXPECT_EQ(drafted() - drafted_before, 4);
  Got again;
  EngineRequest throwing = into(request, again);
  throwing.on_token = [&](const ScoredToken&) -> bool { throw std::runtime_error("the caller's own"); };
  Got beside;
  engine.submit(throwing), engine.submit(into(request, beside));
  drain(engine);
  EXPECT_EQ(again.end->error, "the caller's own");
  EXPECT_TRUE(beside == expected);
}

}  // namespace
}  // namespace hadal
