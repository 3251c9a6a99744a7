// Drafts: what MTP modules say, of a text in the engine as of one that is read anew; how many pay.
#include <algorithm>
#include <map>

#include "base/expect_error.h"
#include "engine/draft_gain.h"
#include "engine/engine_testing.h"
#include "nn/head_loss.h"
#include "ops/pointwise.h"

namespace hadal {
namespace {

using testing::small_config;
using namespace engine_testing;

constexpr int64_t kBlocks = 4;

// MTP modules over the rows of a text, all of them at once, in a cache of their own.
class Modules {
 public:
  Modules(SmallModel& small, int64_t n_modules, std::vector<int32_t> tokens)
      : small_(small),
        n_modules_(n_modules),
        tokens_(std::move(tokens)),
        cache_(small.model.new_cache(small.owned.exec, kBlocks, n_modules)) {
    const Extension text{std::span(tokens_).first(tokens_.size() - 1), 0, blocks_, 0};
    small_.model.extend(small_.owned.exec, *cache_, std::span(&text, 1), &states_);
  }
  // Logits of `wanted` rows at the end of those from `begin` on, n of them.
  Tensor run(int64_t depth, int64_t begin, int64_t n, int64_t wanted) {
    const Extension next{std::span(tokens_).subspan(size_t(begin + depth), size_t(n)), begin, blocks_, wanted};
    const Tensor before = states_.row_range(n == 1 ? states_.rows() - 1 : 0, n);
    Tensor own;
    const Tensor logits = small_.model.draft(small_.owned.exec, *cache_, depth, std::span(&next, 1), before, &own);
    states_ = own;
    return logits;
  }
  std::vector<int32_t> likeliest(int64_t n_drafts) {
    const int64_t n_rows = int64_t(tokens_.size()) - 1;
    std::vector<int32_t> drafts;
    for (int64_t draft = 1; draft <= n_drafts; ++draft) {
      const int64_t chained = std::max<int64_t>(0, draft - n_modules_);
      const Tensor logits = chained > 0 ? run(n_modules_, n_rows + chained - 1, 1, 1) : run(draft, 0, n_rows, 1);
      const Tensor row = host_copy(logits.to(small_.owned.exec, DType::f32));
      drafts.push_back(
          int32_t(std::max_element(row.data<float>(), row.data<float>() + row.count()) - row.data<float>()));
      tokens_.push_back(drafts.back());
    }
    return drafts;
  }

 private:
  SmallModel& small_;
  int64_t n_modules_;
  std::vector<int32_t> tokens_, blocks_ = {2, 0, 3, 1};
  std::shared_ptr<LatentCache> cache_;
  Tensor states_;
};

// By the forward that trains, whose losses of each depth say how likely the right tokens are.
TEST(Drafts, AreByWhatTheMtpModulesSay) {
  SmallModel small(small_config(), options_of());
  const Exec& exec = small.owned.exec;
  RandomStream random{9, stream_id("test.engine"), 0};
  const std::vector<int32_t> tokens = random_ids(random, 80);
  MicroBatch batch;
  batch.tokens = tokens, batch.targets.assign(tokens.begin() + 1, tokens.end()), batch.targets.push_back(-1);
  for (int64_t i = 0; i < 80; ++i) batch.positions.push_back(int32_t(i));
  batch.segments = {{0, 80, 0, 80}}, batch.sequences = {{0, 80}};
  const LossSums sums = small.forward(batch);
  Modules modules(small, 2, tokens);
  for (const int64_t depth : {1, 2}) {
    const int64_t n = 79 - depth;  // rows whose token behind is known
    const Tensor logits = modules.run(depth, 0, n, n);
    const std::vector<int32_t> targets(tokens.begin() + depth + 1, tokens.end());
    const Tensor losses = Tensor::empty(exec, logits.dtype(), {n});
    ops::cross_entropy(exec, logits, Tensor::from(exec, targets, {n}), 1.0, losses, false);
    ASSERT_EQ(sums.mtp_count[size_t(depth - 1)], n);
    EXPECT_EQ(sum_of_losses(host_copy(losses)), sums.mtp[size_t(depth - 1)]);
  }
}

// Drafts behind each token of a text under way, whichever of those before were right, in any pieces and beside others,
// are those of modules that read the same tokens anew: nothing of a wrong draft stays.
TEST(Drafts, AreThoseOfATextThatIsReadAnew) {
  for (const int64_t n_mtp : {1, 2, 3}) {
    ModelConfig config = small_config();
    config.n_mtp = n_mtp;
    for (const AttentionForm form : {AttentionForm::absorbed, AttentionForm::up_projected}) {
      SmallModel small(config, options_of(Precision::fp32, form));
      RandomStream random{11, stream_id("test.engine.drafts"), uint64_t(n_mtp)};
      EngineRequest request, other;
      request.prompt = random_ids(random, 75), other.prompt = random_ids(random, 20);
      request.max_tokens = 70, request.sampling.temperature = 0, other.max_tokens = 60;
      const Got expected = alone(small, request);
      std::vector<int32_t> text = request.prompt;
      text.insert(text.end(), expected.ids.begin(), expected.ids.end());
      int64_t n_right = 0;
      std::map<int64_t, std::vector<int32_t>> seen;  // by position
      EngineOptions options{.cache_blocks = 8, .step_tokens = 13, .drafts = 4};
      options.oracle = [&](uint64_t id, int64_t position, std::span<int32_t> drafts) {
        if (id != 1) return;
        seen[position].assign(drafts.begin(), drafts.end());
        n_right = int64_t(random.below(5));  // the others are wrong, unless the module was right
        for (size_t i = 0; i < drafts.size(); ++i) {
          const int32_t right = text[size_t(position) + i];
          drafts[i] = int64_t(i) < n_right ? right : (right + 1) % 37;
        }
      };
      Engine engine(small.owned.exec, small.model, options);
      Got got, beside;
      engine.submit(into(request, got)), engine.submit(into(other, beside));
      drain(engine);
      EXPECT_TRUE(got == expected);
      EXPECT_TRUE(beside == alone(small, other));
      size_t most = 0;
      for (const auto& [position, drafts] : seen) {
        const std::vector<int32_t> known(text.begin(), text.begin() + position);
        EXPECT_EQ(drafts, Modules(small, n_mtp, known).likeliest(int64_t(drafts.size())))
            << n_mtp << " modules, at " << position;
        most = std::max(most, drafts.size());
      }
      EXPECT_EQ(most, 4u);
      EXPECT_GT(seen.size(), 15u);
    }
  }
}

// Decoding reads weights: a right draft saves what reading them again would cost, a wrong one costs more experts.
TEST(Drafts, PayWhereTheirBytesDo) {
  ModelConfig config = small_config();
  config.n_mtp = 1;
  const auto gain = [&](std::vector<double> right, int64_t n_texts) { return DraftGain(config)(right, n_texts); };
  EXPECT_EQ(gain({}, 1), 1);
  EXPECT_LT(gain({0}, 1), 1);
  EXPECT_GT(gain({0.9}, 1), gain({0.5}, 1));
  EXPECT_GT(gain({0.9}, 100), gain({0.9}, 1));        // all experts are read anyway
  config.n_routed_experts = 0, config.n_layers = 40;  // dense, and the module is a small part of it
  EXPECT_GT(gain({0.9}, 1), 1.5);
  EXPECT_LT(gain({0.9}, 1), 1.9);
  EXPECT_GT(gain({0.9, 0.8}, 1), gain({0.9}, 1));
  EXPECT_LT(gain({0.9, 0.01}, 1), gain({0.9}, 1));
}

TEST(Drafts, AreAsManyAsWereSeenToPay) {
  ModelConfig config = small_config();
  config.n_routed_experts = 0, config.n_layers = 40, config.n_mtp = 1;
  const DraftGain gain(config);
  const auto seen = [](int64_t n, std::vector<int64_t> right) {
    DraftCounts counts;
    for (size_t i = 0; i < right.size(); ++i) counts.tried[i] = n, counts.right[i] = right[i];
    return counts;
  };
  EXPECT_EQ(gain.choose({}, 1), 1);              // to see
  EXPECT_EQ(gain.choose(seen(99, {0}), 1), 1);   // still
  EXPECT_EQ(gain.choose(seen(100, {0}), 1), 0);  // none
  EXPECT_EQ(gain.choose(seen(100, {50, 2}), 1), 1);
  EXPECT_EQ(gain.choose(seen(100, {90, 80, 1}), 1), 2);
  EXPECT_GT(gain.choose(seen(100, {95}), 1), 3);  // as if all were right as often
  EXPECT_EQ(gain.choose(seen(100, std::vector<int64_t>(8, 100)), 1), kMostDrafts);
}

TEST(Drafts, FollowWhatTheEngineSaw) {
  ModelConfig config = small_config();
  config.n_layers = 8, config.n_mtp = 1;
  SmallModel small(config, options_of());
  EngineRequest request;
  request.prompt = {3, 1, 4}, request.max_tokens = 300;
  const Got expected = alone(small, request);
  for (const bool right : {false, true}) {
    EngineOptions options{.cache_blocks = 8, .drafts = EngineOptions::kAutomatic};
    options.oracle = [&](uint64_t, int64_t position, std::span<int32_t> drafts) {
      for (size_t i = 0; i < drafts.size(); ++i)
        drafts[i] = (expected.ids[size_t(position) - 3 + i] + (right ? 0 : 1)) % 37;
    };
    Engine engine(small.owned.exec, small.model, options);
    Got got;
    engine.submit(into(request, got));
    drain(engine);
    EXPECT_TRUE(got == expected);
    const DraftCounts counts = engine.counts().drafts;
    if (right) {
      EXPECT_GT(counts.tried[3], 10);  // many pay
    } else {
      EXPECT_EQ(counts.tried[0], 101);  // enough to judge by, and those that were on their way then
      EXPECT_EQ(counts.tried[1], 0);
    }
  }
}

TEST(Drafts, AreCountedByTheirPlace) {
  DraftCounts counts;
  counts.add(3, 1), counts.add(2, 2), counts.add(0, 0);
  EXPECT_EQ(counts.tried[0], 2);
  EXPECT_EQ(counts.tried[2], 1);
  EXPECT_EQ(counts.right[0], 2);
  EXPECT_EQ(counts.right[1], 1);
  EXPECT_EQ(counts.all_tried(), 5);
  EXPECT_EQ(counts.all_right(), 3);
}

TEST(Drafts, BeyondWhatIsOfferedAreRefused) {
  SmallModel small(small_config(), options_of());
  EXPECT_ERROR(Engine(small.owned.exec, small.model, {.drafts = 9}), ErrorKind::invalid,
               "drafts = 9 must lie in 0 .. 8");
  EXPECT_ERROR(Engine(small.owned.exec, small.model, {.drafts = -2}), ErrorKind::invalid,
               "drafts = -2 must lie in 0 .. 8");
  ModelConfig without = small_config();
  without.n_mtp = 0;
  SmallModel plain(without, options_of());
  EXPECT_ERROR(Engine(plain.owned.exec, plain.model, {.drafts = 1}), ErrorKind::invalid,
               "drafts = 1, but the model has no MTP module");
  Engine automatic(plain.owned.exec, plain.model, {.drafts = EngineOptions::kAutomatic});
}

// A draft takes no other text's place: where blocks are short it does not run. The first text ends before it needs its
// second block, which its drafts would reach into.
TEST(Drafts, PreemptNobody) {
  SmallModel small(small_config(), options_of());
  RandomStream random{12, stream_id("test.engine.drafts"), 0};
  EngineRequest one, two;
  one.prompt = random_ids(random, 60), two.prompt = random_ids(random, 70);
  one.max_tokens = 40, two.max_tokens = 50;
  Engine engine(small.owned.exec, small.model, {.cache_blocks = 3, .prefix_cache = false, .drafts = 8});
  Got first, second;
  EngineRequest ending = into(one, first);
  ending.on_token = [&, keep = ending.on_token](const ScoredToken& token) {
    return keep(token) && first.ids.size() < 3;
  };
  engine.submit(ending), engine.submit(into(two, second));
  drain(engine);
  EXPECT_EQ(first.ids.size(), 3u);
  EXPECT_EQ(engine.counts().preemptions, 0);
  EXPECT_GT(engine.counts().drafts.all_tried(), 0);
  EXPECT_TRUE(second == alone(small, two));
}

}  // namespace
}  // namespace hadal
