#include "engine/engine_check.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "engine/engine.h"
#include "engine/row_traces.h"
#include "model/latent_cache.h"
#include "nn/micro_batch.h"

namespace hadal {
namespace {

struct Answer {
  std::vector<ScoredToken> prompt, text;  // prompt: from the second token on; empty where it was not asked for
};
struct Answers {
  std::vector<Answer> of;  // by request
  RowTraces traces;        // of rows named by request
};

class Conditions {
 public:
  Conditions(const Exec& exec, const Transformer& model, const EngineCheckOptions& options)
      : exec_(exec), model_(model), o_(options) {
    const ModelConfig& config = model.config();
    const int64_t text = std::min(o_.text_tokens, config.max_positions / 2);
    const int64_t prompt = std::min(o_.prompt_tokens, config.max_positions - text);
    const int64_t ids = o_.allowed_ids > 0 ? std::min(o_.allowed_ids, config.vocab_size) : config.vocab_size;
    check(o_.requests > 0 && text > 0 && prompt > 1, ErrorKind::invalid,
          "{} requests of at most {} and {} tokens; there must be some, with 2 and 1 tokens at least", o_.requests,
          prompt, text);
    RandomStream random{o_.seed, stream_id("engine.check"), 0};
    std::vector<int32_t> beginning;
    for (int64_t i = 0; i < prompt; ++i) beginning.push_back(int32_t(random.below(uint64_t(ids))));
    for (int64_t r = 0; r < o_.requests; ++r) {  // half of a prompt is the same in all, so that it can be shared
      EngineRequest request;
      const int64_t n = 2 + int64_t(random.below(uint64_t(prompt - 1)));
      request.prompt.assign(beginning.begin(), beginning.begin() + std::min(n, prompt / 2));
      while (int64_t(request.prompt.size()) < n) request.prompt.push_back(int32_t(random.below(uint64_t(ids))));
      request.max_tokens = 1 + int64_t(random.below(uint64_t(text)));
      request.allowed_ids = ids;
      request.sampling.seed = random.below(uint64_t(1) << 40);
      request.sampling.temperature = r % 3 == 0 ? 0.0 : 0.8;
      longest_ = std::max(longest_, n + request.max_tokens);
      requests_.push_back(std::move(request));
    }
  }

  std::vector<EngineCondition> run(const Exec* one_thread) {
    const int64_t one = cache_blocks_of(longest_), all = one * o_.requests;
    const EngineOptions plain{.cache_blocks = all, .prefix_cache = false};
    begin("alone");
    Answers alone;
    for (size_t r = 0; r < requests_.size(); ++r) serve(exec_, plain, {r}, true, 1, alone);
    // Training reads keys as values; in another format it is the forward of hadal score.
    const std::string forward =
        model_.options().cache == CacheFormat::values ? "the trainer's forward" : "the forward that scores";
    begin(forward);
    compare(forward, alone, by_forward(alone));
    if (o_.score) {
      begin(o_.scorer);
      compare(o_.scorer, alone, by_score(alone));
    }
    const auto condition = [&](const std::string& name, const Exec& exec, const EngineOptions& how, bool prompts,
                               int times = 1, bool backwards = false) {
      begin(name);
      std::vector<size_t> all(requests_.size());
      std::iota(all.begin(), all.end(), size_t(0));
      if (backwards) std::reverse(all.begin(), all.end());
      Answers now;
      const EngineCounts counts = serve(exec, how, all, prompts, times, now);
      compare(name, alone, now);
      return counts;
    };
    condition("all in one batch", exec_, plain, true);
    condition("in other slots and blocks", exec_, plain, true, 1, true);
    for (const int64_t n : {int64_t(7), int64_t(64), int64_t(200)})
      condition(fmt::format("{} rows a step", n), exec_, {.cache_blocks = all, .step_tokens = n, .prefix_cache = false},
                true);
    for (const int64_t n : {int64_t(1), int64_t(2)}) {
      if (model_.config().n_mtp > 0)
        condition(fmt::format("drafts: {}", n), exec_, {.cache_blocks = all, .prefix_cache = false, .drafts = n}, true);
    }
    if (one_thread) condition("one thread", *one_thread, plain, true);
    const EngineCounts shared = condition("prompts found in the cache", exec_, {.cache_blocks = 2 * all}, false, 2);
    if (shared.cached_tokens == 0) conditions_.pop_back();  // prompts of less than a block
    const EngineCounts narrow =
        condition("preempted, blocks evicted", exec_, {.cache_blocks = one + one / 2}, false, 2);
    if (narrow.preemptions == 0) conditions_.back().name = "few blocks";
    return conditions_;
  }

 private:
  void begin(const std::string& name) const {
    if (o_.begins) o_.begins(name);
  }

  // These requests in one engine, so many times one after another; the last time counts.
  EngineCounts serve(const Exec& exec, EngineOptions how, const std::vector<size_t>& which, bool prompts, int times,
                     Answers& all) const {
    std::map<uint64_t, size_t> request_of;  // by the engine's name
    how.observer = [&](std::vector<StepRow> rows, const std::string& name, const Tensor& value) {
      for (StepRow& row : rows) row.request = request_of.at(row.request);
      all.traces.see(rows, name, value);
    };
    Engine engine(exec, model_, how);
    all.of.resize(requests_.size());
    for (int time = 0; time < times; ++time) {
      for (const size_t r : which) {
        Answer& answer = all.of[r] = Answer();
        EngineRequest request = requests_[r];
        request.prompt_log_probs = prompts;
        request.on_token = [&answer](const ScoredToken& token) {
          answer.text.push_back(token);
          return true;
        };
        request.on_end = [&answer, r](const EngineResult& result) {
          check(result.reason != EndReason::failed, ErrorKind::corrupt, "request {}: {}", r, result.error);
          if (!result.prompt.empty()) answer.prompt.assign(result.prompt.begin() + 1, result.prompt.end());
        };
        request_of[engine.submit(std::move(request))] = r;
      }
      while (engine.step()) {
      }
    }
    return engine.counts();
  }

  Answers by_forward(const Answers& alone) const {
    Answers all;
    for (size_t r = 0; r < alone.of.size(); ++r) {
      const std::vector<int32_t> tokens = tokens_of(alone, r);
      std::vector<StepRow> rows;
      std::vector<double> log_probs;
      Wants wants;
      wants.log_probs = &log_probs;
      wants.observer = [&](const std::string& name, const Tensor& value) { all.traces.see(rows, name, value); };
      const MicroBatch batch = batch_of_tokens(tokens);
      for (const int32_t position : batch.positions) rows.push_back({r, position});
      model_.forward(exec_, batch, wants).check_routed();
      all.of.push_back(answer_of(r, tokens, log_probs));
    }
    return all;
  }

  Answers by_score(const Answers& alone) const {
    Answers all;
    all.traces = alone.traces;  // it tells of no layer
    for (size_t r = 0; r < alone.of.size(); ++r) {
      const std::vector<int32_t> tokens = tokens_of(alone, r);
      all.of.push_back(answer_of(r, tokens, o_.score(tokens)));
    }
    return all;
  }

  std::vector<int32_t> tokens_of(const Answers& alone, size_t r) const {
    std::vector<int32_t> tokens = requests_[r].prompt;
    for (const ScoredToken& token : alone.of[r].text) tokens.push_back(token.id);
    return tokens;
  }
  Answer answer_of(size_t r, const std::vector<int32_t>& tokens, const std::vector<double>& log_probs) const {
    Answer answer;
    for (size_t i = 0; i + 1 < tokens.size(); ++i)
      (i + 1 < requests_[r].prompt.size() ? answer.prompt : answer.text)
          .push_back({tokens[i + 1], log_probs.at(i), {}});
    return answer;
  }

  // Of the token at this position, which the row before it predicts.
  std::string place(const Answers& alone, const Answers& now, size_t r, int64_t position, const char* what) const {
    const std::string layer = alone.traces.first_difference({r, position - 1}, now.traces);
    return fmt::format("request {}, position {} ({}), {}", r, position, what,
                       layer.empty() ? "behind the last layer" : "from " + layer + " on");
  }

  void compare(const std::string& name, const Answers& alone, const Answers& now) {
    EngineCondition condition{name, 0, 0, ""};
    const auto tokens = [&](size_t r, const char* what, const std::vector<ScoredToken>& a,
                            const std::vector<ScoredToken>& b, int64_t first) {
      for (size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
        const bool same_id = i < a.size() && i < b.size() && a[i].id == b[i].id;
        const double difference =
            same_id ? std::abs(a[i].log_prob - b[i].log_prob) : std::numeric_limits<double>::infinity();
        ++condition.tokens;
        if (!(difference == 0) && condition.first.empty())
          condition.first = place(alone, now, r, first + int64_t(i), what);
        condition.worst = difference > condition.worst ? difference : condition.worst;
        if (!same_id) return;  // what follows is another text
      }
    };
    for (size_t r = 0; r < alone.of.size(); ++r) {
      const Answer &a = alone.of[r], &b = now.of[r];
      if (!b.prompt.empty()) tokens(r, "prompt", a.prompt, b.prompt, 1);
      tokens(r, "text", a.text, b.text, int64_t(requests_[r].prompt.size()));
    }
    conditions_.push_back(std::move(condition));
  }

  const Exec& exec_;
  const Transformer& model_;
  const EngineCheckOptions& o_;
  std::vector<EngineRequest> requests_;
  int64_t longest_ = 0;
  std::vector<EngineCondition> conditions_;
};

}  // namespace

std::vector<EngineCondition> check_engine(const Exec& exec, const Exec* one_thread, const Transformer& model,
                                          const EngineCheckOptions& options) {
  return Conditions(exec, model, options).run(one_thread);
}

}  // namespace hadal
