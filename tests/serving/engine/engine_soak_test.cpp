// The engine against a model of itself, each request alone: random arrivals, cancellations and exchanges of weights
// over a cache of a few blocks, with preemptions, evictions of shared blocks, and drafts of an oracle that are wrong,
// right for a while, or right. Every token is compared when it comes. A run in which an event never happened fails.
#include <map>
#include <memory>

#include "engine/engine_testing.h"

namespace hadal {
namespace {

using namespace engine_testing;
using testing::Attention;

// The model that is served, and what it is by turns: its weights of version 0, 2, ... and of 1, 3, ...
struct Models {
  SmallModel served, even, odd;
  explicit Models(const Attention& attention, CacheFormat cache = CacheFormat::values)
      : served(attention.in(testing::small_config()), options(attention.form, cache)),
        even(attention.in(testing::small_config()), options(attention.form, cache)),
        odd(attention.in(testing::small_config()), options(attention.form, cache)) {
    scale(odd, 2);
  }
  static ModelOptions options(AttentionForm form, CacheFormat cache) {
    ModelOptions options = options_of(Precision::bf16, form);
    options.cache = cache;
    return options;
  }
  static void scale(SmallModel& small, double factor) {  // exact, and back
    const char* name = small.model.config().is_latent() ? "layers.1.attention.kv_a" : "layers.1.attention.v";
    const Tensor values = small.model.parameter(name).value.plain;
    for (int64_t i = 0; i < values.count(); ++i) set_element(values, i, factor * element(values, i));
  }
};

struct Event {
  EngineRequest request;
  std::map<int64_t, Got> expected;  // by version % 2
  Got got;
  uint64_t id = 0;
  int64_t version = 0;  // of the weights that its tokens are by
  bool cancelled = false;
};

struct Soak {
  int64_t blocks = 6, max_running = 5, step_tokens = 90;
  bool prefix_cache = true;
  int64_t drafts = 0;
  bool swaps = false;
  int64_t requests = 60;
};

// How often what happened.
struct Happened {
  EngineCounts engine;
  int64_t arrivals = 0, cancels = 0, evictions = 0;
  int64_t swaps[2] = {};  // by SwapWeights
  int64_t failed_swaps = 0, restarts = 0;
  int64_t none_right = 0, some_right = 0, all_right = 0;  // of the drafts of a text in a step
};

class SoakRun {
 public:
  SoakRun(Models& models, const Soak& how, uint64_t seed)
      : models_(models),
        how_(how),
        random_{seed, stream_id("test.engine.soak"), 0},
        trunk_(random_ids(random_, 300)),
        engine_(models.served.owned.exec, models.served.model, options()) {}
  ~SoakRun() {
    if (served_is_odd_) turn();
  }

  Happened run() {
    for (int64_t step = 0, ended = 0; ended < how_.requests; ++step) {
      if (int64_t(events_.size()) < how_.requests && random_.below(3) == 0) arrive();
      if (!events_.empty() && random_.below(25) == 0) cancel(*events_[size_t(random_.below(events_.size()))]);
      if (how_.swaps && random_.below(40) == 0) swap();
      const bool stepped = engine_.step();
      const EngineCounts now = engine_.counts();
      EXPECT_TRUE(stepped || now.waiting + now.running == 0) << "it stands still, and " << now.waiting << " wait";
      happened_.evictions = std::max(happened_.evictions, now.evictions);
      ended = std::count_if(events_.begin(), events_.end(), [](const auto& e) { return e->got.end.has_value(); });
      if (step > 100000) ADD_FAILURE() << "it never ends";
      if (::testing::Test::HasFailure()) break;
    }
    for (const auto& event : events_) compare_end(*event);
    happened_.engine = engine_.counts();
    EXPECT_EQ(happened_.engine.running + happened_.engine.waiting + happened_.engine.blocks_held, 0);
    if (!how_.prefix_cache) {
      EXPECT_EQ(happened_.engine.blocks_used, 0);
    }
    return happened_;
  }

 private:
  EngineOptions options() {
    EngineOptions o{.cache_blocks = how_.blocks,
                    .max_running = how_.max_running,
                    .step_tokens = how_.step_tokens,
                    .prefix_cache = how_.prefix_cache,
                    .drafts = how_.drafts};
    o.oracle = [this](uint64_t id, int64_t position, std::span<int32_t> drafts) { guess(id, position, drafts); };
    return o;
  }

  // Random requests over few prompts that begin alike.
  void arrive() {
    events_.push_back(std::make_unique<Event>());
    Event& event = *events_.back();
    EngineRequest& r = event.request;
    const int64_t shared = int64_t(random_.below(200)), own = 1 + int64_t(random_.below(40));
    r.prompt.assign(trunk_.begin(), trunk_.begin() + shared);
    for (const int32_t id : random_ids(random_, own)) r.prompt.push_back(id);
    r.max_tokens = int64_t(random_.below(120));
    r.max_tokens = std::min(r.max_tokens, how_.blocks * 64 - int64_t(r.prompt.size()));
    r.prompt_log_probs = random_.below(4) == 0;
    r.n_top = int64_t(random_.below(2));
    r.sampling.seed = random_.below(1000), r.sampling.temperature = random_.below(3) == 0 ? 0.0 : 0.9;
    if (random_.below(3) == 0) r.sampling.top_p = 0.8;
    if (random_.below(3) == 0) r.sampling.repetition_penalty = 1.2;
    if (random_.below(3) == 0) r.stop = random_ids(random_, 1);
    EngineRequest asked = into(r, event.got);
    asked.on_token = [this, &event, keep = asked.on_token](const ScoredToken& token) {
      compare(event, token);
      return keep(token);
    };
    asked.on_restart = [this, &event] {
      EXPECT_TRUE(event.got.ids.empty() || event.version < engine_.weights_version()) << "begun anew for nothing";
      ++happened_.restarts, event.got.ids.clear(), event.got.log_probs.clear();
    };
    event.id = engine_.submit(asked);
    ++happened_.arrivals;
  }

  void cancel(Event& event) {
    if (event.got.end) return;
    engine_.cancel(event.id);
    event.cancelled = true, ++happened_.cancels;
  }

  void swap() {
    const auto how = SwapWeights(random_.below(2));
    if (random_.below(4) == 0) {
      engine_.swap_weights([] { fail(ErrorKind::corrupt, "no such weights"); }, how);
      ++happened_.failed_swaps;
      return;
    }
    engine_.swap_weights([this, how] { turn(), ++happened_.swaps[int(how)]; }, how);
  }
  void turn() {
    Models::scale(models_.served, served_is_odd_ ? 0.5 : 2);
    served_is_odd_ = !served_is_odd_;
  }

  // What a request gets alone, with these weights.
  const Got& expected(Event& event, int64_t version) {
    const auto [place, is_new] = event.expected.try_emplace(version % 2);
    if (is_new) place->second = alone(version % 2 == 0 ? models_.even : models_.odd, event.request);
    return place->second;
  }

  void guess(uint64_t id, int64_t position, std::span<int32_t> drafts) {
    const auto at = std::find_if(events_.begin(), events_.end(), [&](const auto& e) { return e->id == id; });
    Event& event = **at;
    const Got& right = expected(event, engine_.weights_version());
    const size_t first = size_t(position) - event.request.prompt.size();
    const int64_t kind = int64_t(random_.below(3)), n = int64_t(drafts.size());
    if (kind == 1 && n < 2) return;  // whatever the module says
    const int64_t n_right = kind == 0 ? 0 : kind == 1 ? 1 + int64_t(random_.below(uint64_t(n - 1))) : n;
    ++(kind == 0 ? happened_.none_right : kind == 1 ? happened_.some_right : happened_.all_right);
    for (size_t i = 0; i < drafts.size() && first + i < right.ids.size(); ++i)
      drafts[i] = int64_t(i) < n_right ? right.ids[first + i] : (right.ids[first + i] + 1) % 37;
  }

  void compare(Event& event, const ScoredToken& token) {
    if (event.got.ids.empty()) event.version = engine_.weights_version();
    EXPECT_EQ(event.version, engine_.weights_version()) << "request " << event.id << ": weights are mixed";
    const Got& right = expected(event, event.version);
    const size_t i = event.got.ids.size();
    ASSERT_LT(i, right.ids.size()) << "request " << event.id;
    EXPECT_EQ(token.id, right.ids[i]) << "request " << event.id << ", token " << i;
    EXPECT_EQ(token.log_prob, right.log_probs[i]) << "request " << event.id << ", token " << i;
  }
  void compare_end(Event& event) {
    const Got& got = event.got;
    if (!got.end) return;
    if (got.end->reason == EndReason::cancelled) {
      EXPECT_TRUE(event.cancelled) << "request " << event.id;
      return;
    }
    EXPECT_TRUE(got == expected(event, got.end->weights_version)) << "request " << event.id;
  }

  Models& models_;
  Soak how_;
  RandomStream random_;
  std::vector<int32_t> trunk_;
  Happened happened_;
  std::vector<std::unique_ptr<Event>> events_;
  bool served_is_odd_ = false;
  Engine engine_;
};

TEST(EngineSoak, EveryRequestGetsWhatItGetsAlone) {
  for (const Attention& attention : testing::kAttentions) {
    SCOPED_TRACE(attention.text());
    Models models(attention);
    const auto run = [&](const Soak& how, uint64_t seed, const char* trace) {
      SCOPED_TRACE(trace);
      const Happened all = SoakRun(models, how, seed).run();
      EXPECT_EQ(all.arrivals, how.requests);
      EXPECT_GT(all.cancels, 0);
      return all;
    };
    const Happened narrow = run({}, 1, "few blocks");
    EXPECT_GT(narrow.engine.preemptions, 0);
    EXPECT_GT(narrow.engine.cached_tokens, 0);
    EXPECT_GT(narrow.evictions, 0);
    const Happened wide = run({.blocks = 40, .max_running = 16, .step_tokens = 200}, 2, "many blocks");
    EXPECT_EQ(wide.engine.preemptions, 0);
    EXPECT_GT(wide.engine.cached_tokens, 0);
    const Happened apart = run({.prefix_cache = false}, 3, "nothing shared");
    EXPECT_EQ(apart.engine.cached_tokens, 0);
    EXPECT_GT(apart.engine.preemptions, 0);
    EXPECT_EQ(apart.engine.drafts.all_tried(), 0);
  }
}

TEST(EngineSoak, WithDraftsAndOtherWeightsInBetweenToo) {
  std::vector<std::pair<Attention, CacheFormat>> kinds;
  for (const Attention& attention : testing::kAttentions) kinds.emplace_back(attention, CacheFormat::values);
  kinds.emplace_back(Attention{AttentionForm::absorbed, AttentionKind::mla}, CacheFormat::fp8);
  for (const auto& [attention, cache] : kinds) {
    SCOPED_TRACE(fmt::format("{}, cache {}", attention.text(), enum_name(cache)));
    Models models(attention, cache);
    const Happened all = SoakRun(models, {.drafts = 3, .swaps = true}, 4).run();
    EXPECT_GT(all.arrivals, 0);
    EXPECT_GT(all.cancels, 0);
    EXPECT_GT(all.engine.preemptions, 0);
    EXPECT_GT(all.engine.cached_tokens, 0);
    EXPECT_GT(all.evictions, 0);
    EXPECT_GT(all.none_right, 0);
    EXPECT_GT(all.some_right, 0);
    EXPECT_GT(all.all_right, 0);
    EXPECT_GT(all.engine.drafts.right[2], 0);
    EXPECT_LT(all.engine.drafts.all_right(), all.engine.drafts.all_tried());
    EXPECT_GT(all.swaps[0], 0);
    EXPECT_GT(all.swaps[1], 0);
    EXPECT_GT(all.failed_swaps, 0);
    EXPECT_GT(all.restarts, 0);
  }
}

}  // namespace
}  // namespace hadal
