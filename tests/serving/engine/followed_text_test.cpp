// Constraints that take long: they hold up their own text, no other, and change nothing of either.
#include "engine/followed_text.h"

#include <future>

#include "engine/engine_testing.h"

namespace hadal {
namespace {

using testing::small_config;
using namespace engine_testing;

// Ids below 30 may come, 6 of them at most; before the one at `waits_at` is known it waits for a word.
struct Slow : Constraint {
  struct Text : ConstrainedText {
    explicit Text(const Slow& of) : of(of) {}
    std::span<const uint32_t> allowed() override {
      if (written == of.waits_at) {
        EXPECT_EQ(of.word.wait_for(std::chrono::seconds(30)), std::future_status::ready) << "nobody else goes on";
      }
      bits = {written < 6 ? (1U << 30) - 1 : 0U, 0U};
      return bits;
    }
    bool may_end() const override { return written == 6; }
    void accept(int32_t) override {
      if (++written == of.fails_at) fail(ErrorKind::invalid, "the rule says so");
    }
    const Slow& of;
    int64_t written = 0;
    std::vector<uint32_t> bits;
  };
  std::unique_ptr<ConstrainedText> begin() const override { return std::make_unique<Text>(*this); }
  int64_t waits_at = -1, fails_at = -1;
  std::shared_future<void> word;
};

EngineRequest request_of(int32_t first, int64_t max_tokens) {
  EngineRequest request;
  request.prompt = {first, 1, 4}, request.max_tokens = max_tokens, request.sampling.seed = 5;
  return request;
}

TEST(FollowedText, ASlowConstraintHoldsUpItsOwnTextAlone) {
  SmallModel small(small_config(), options_of());
  const EngineRequest plain = request_of(3, 40);
  EngineRequest held = request_of(7, 20);
  held.constraint = std::make_shared<Slow>();
  const Got neighbour_alone = alone(small, plain), held_alone = alone(small, held);
  EXPECT_EQ(held_alone.ids.size(), 6u);
  EXPECT_EQ(held_alone.end->reason, EndReason::stop);
  for (const int64_t drafts : {0, 2}) {
    for (const int64_t waits_at : {0, 3, 6}) {
      std::promise<void> word;
      auto slow = std::make_shared<Slow>();
      slow->waits_at = waits_at, slow->word = word.get_future().share();
      held.constraint = slow;
      Engine engine(small.owned.exec, small.model, {.cache_blocks = 8, .drafts = drafts});
      Got neighbour, got;
      EngineRequest beside = into(plain, neighbour);
      beside.on_token = [&, keep = beside.on_token](const ScoredToken& token) {
        if (neighbour.ids.size() == 30) word.set_value();
        return keep(token);
      };
      engine.submit(into(held, got));
      engine.submit(beside);
      drain(engine);
      EXPECT_TRUE(neighbour == neighbour_alone) << waits_at << " " << drafts;
      EXPECT_TRUE(got == held_alone) << waits_at << " " << drafts;
    }
  }
}

// A text that is all it may be when its tokens run out ended by itself, though that was known later.
TEST(FollowedText, TheEndIsThatOfTheConstraintHoweverLongItTakes) {
  SmallModel small(small_config(), options_of());
  std::promise<void> word;
  auto slow = std::make_shared<Slow>();
  slow->waits_at = 6, slow->word = word.get_future().share();
  EngineRequest held = request_of(7, 6);
  held.constraint = slow;
  Engine engine(small.owned.exec, small.model, {.cache_blocks = 8});
  Got got;
  engine.submit(into(held, got));
  while (got.ids.size() < 6) ASSERT_TRUE(engine.step());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(engine.step()) << "a text is held up, so the engine is not idle";
  EXPECT_FALSE(got.end.has_value());
  word.set_value();
  drain(engine);
  ASSERT_TRUE(got.end.has_value());
  EXPECT_EQ(got.end->reason, EndReason::stop);
}

TEST(FollowedText, WhatFailsLateOrIsGivenUpEndsItsTextAlone) {
  SmallModel small(small_config(), options_of());
  auto failing = std::make_shared<Slow>();
  failing->fails_at = 2;
  EngineRequest bad = request_of(7, 20);
  bad.constraint = failing;
  std::promise<void> word;
  auto slow = std::make_shared<Slow>();
  slow->waits_at = 1, slow->word = word.get_future().share();
  EngineRequest held = request_of(9, 20);
  held.constraint = slow;
  const Got expected = alone(small, request_of(3, 20));
  Got failed, given_up, neighbour;
  Engine engine(small.owned.exec, small.model, {.cache_blocks = 8});
  engine.submit(into(bad, failed));
  const uint64_t id = engine.submit(into(held, given_up));
  engine.submit(into(request_of(3, 20), neighbour));
  while (given_up.ids.empty()) ASSERT_TRUE(engine.step());
  engine.cancel(id);
  drain(engine);
  EXPECT_EQ(failed.end->error, "at position 4: the rule says so");
  EXPECT_EQ(given_up.end->reason, EndReason::cancelled);
  EXPECT_TRUE(neighbour == expected);
  word.set_value();  // what followed it ends before the engine does
}

}  // namespace
}  // namespace hadal
