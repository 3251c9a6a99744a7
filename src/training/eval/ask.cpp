// One thread steps the engine; what its callbacks bring is taken up between steps.
#include "eval/ask.h"

#include <algorithm>
#include <deque>
#include <optional>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "base/random.h"
#include "engine/engine.h"
#include "eval/reply_text.h"
#include "jinja/characters.h"
#include "model/latent_cache.h"

namespace hadal::eval {

EncodedPair encode_pair(const AskedModel& model, const Request& request) {
  if (!request.chat.empty()) {
    EncodedPair pair;
    pair.ids = model.chat(request.chat, request.continuation);
    pair.n_context = int64_t((request.continuation.empty() ? pair.ids : model.chat(request.chat, "")).size());
    return pair;
  }
  // Blanks at the end of a context belong to what is scored behind it; a generation takes the context as it is.
  std::string_view context = request.context;
  std::string behind = request.continuation;
  if (request.kind == RequestKind::log_likelihood) {
    const size_t end = jinja::strip_range(context, false, true).second;
    behind = std::string(context.substr(end)) + behind;
    context = context.substr(0, end);
  }
  EncodedPair pair{.ids = model.start};
  model.tokenizer.encode_to(context, SpecialTokens::as_text, pair.ids);
  pair.n_context = int64_t(pair.ids.size());
  if (!behind.empty()) {
    pair.ids = model.start;
    model.tokenizer.encode_to(std::string(context) + behind, SpecialTokens::as_text, pair.ids);
  }
  if (pair.n_context == 0) {
    if (pair.ids.empty() || pair.ids.front() != model.empty_context)
      pair.ids.insert(pair.ids.begin(), model.empty_context);
    pair.n_context = 1;
  }
  return pair;
}

std::vector<RollingWindow> rolling_windows(const std::vector<int32_t>& tokens, int32_t before, int64_t positions) {
  std::vector<RollingWindow> windows;
  const int64_t n = int64_t(tokens.size());
  for (int64_t scored = 0; scored < n;) {
    const int64_t end = scored + std::min(n - scored, positions);
    RollingWindow window;
    const int64_t begin = scored == 0 ? 0 : end - positions - 1;
    if (scored == 0) window.tokens.push_back(before);
    window.tokens.insert(window.tokens.end(), tokens.begin() + begin, tokens.begin() + end);
    window.scored = int64_t(window.tokens.size()) - (end - scored);
    windows.push_back(std::move(window));
    scored = end;
  }
  return windows;
}

namespace {

struct Job {
  size_t item = 0, request = 0;
  int64_t sample = 0;
  EncodedPair pair;
};

class Asking {
 public:
  Asking(const AskedModel& model, const std::vector<Item>& items, const AskOptions& options, AskReport& report)
      : model_(model), items_(items), options_(options), report_(report) {
    for (const Item& item : items) {
      auto& replies = all_.emplace_back();
      for (const Request& request : item.requests) {
        replies.emplace_back(request.kind == RequestKind::generate ? size_t(options.samples) : 1);
        total_ += int64_t(replies.back().size());
      }
    }
  }

  std::vector<std::vector<Replies>> run() {
    const CleanStop polled("stopping; nothing is written of an evaluation that did not end");
    Progress progress(options_.label, total_, {.unit = " requests", .quiet = options_.quiet});
    progress_ = &progress;
    while (true) {
      stop_if_interrupted("the evaluation did not come to its end");
      fill();
      if (under_way_ == 0 && ready_.empty() && next_item_ == items_.size()) break;
      check(engine_->step(), ErrorKind::internal, "{} requests neither run nor have ended", under_way_);
      if (error_) throw *error_;
    }
    return std::move(all_);
  }

 private:
  const ModelConfig& config() const { return model_.transformer.config(); }
  std::string name_of(const Job& job) const { return fmt::format("item {}", items_[job.item].id); }

  // As many as may be under way: those whose context the cache knows before others. The very first goes alone, since
  // what all contexts begin with should be read once.
  void fill() {
    while (under_way_ < options_.running && (first_was_read_ || under_way_ == 0)) {
      if (ready_.empty() && next_item_ < items_.size()) open(next_item_++);
      if (ready_.empty()) return;
      Job job = std::move(ready_.front());
      ready_.pop_front();
      start(std::move(job));
    }
  }

  // The first request of an item; the others follow when its prompt was read.
  void open(size_t item) {
    if (!items_[item].requests.empty()) ready_.push_back({item, 0, 0, {}});
  }
  void follow(const Job& job) {
    if (job.request != 0 || job.sample != 0) return;
    std::vector<Job> others;
    for (size_t r = 0; r < all_[job.item].size(); ++r)
      for (int64_t s = 0; s < int64_t(all_[job.item][r].size()); ++s)
        if (r != 0 || s != 0) others.push_back({job.item, r, s, {}});
    ready_.insert(ready_.begin(), std::make_move_iterator(others.begin()), std::make_move_iterator(others.end()));
    first_was_read_ = true;
  }

  void start(Job job) {
    const Request& request = items_[job.item].requests[job.request];
    if (request.kind == RequestKind::rolling) return roll(std::move(job), request);
    check(request.chat.empty() || model_.chat, ErrorKind::invalid, "{}: the model has no form for chats", name_of(job));
    job.pair = encode_pair(model_, request);
    const int64_t max_tokens = cut(job, request);
    report_.prompt_tokens += int64_t(job.pair.ids.size());
    EngineRequest asked;
    asked.prompt = job.pair.ids;
    const auto shared = std::make_shared<Job>(std::move(job));
    if (request.kind == RequestKind::log_likelihood)
      prepare_scores(asked, shared);
    else
      prepare_text(asked, shared, request, max_tokens);
    if (!engine_) open_engine();
    ++under_way_;
    engine_->submit(std::move(asked));
  }

  // The beginning of what is too long goes, as in lm-eval; what must be scored never does. Returns how many tokens may
  // be written.
  int64_t cut(Job& job, const Request& request) {
    const int64_t positions = config().max_positions, n = int64_t(job.pair.ids.size());
    const bool writes = request.kind == RequestKind::generate;
    const int64_t room = std::max<int64_t>(1, positions - n);
    const int64_t max_tokens = request.yields ? std::min(request.max_tokens, room) : request.max_tokens;
    check(!writes || max_tokens < positions, ErrorKind::invalid,
          "{}: {} new tokens leave no room for a context in the model's {} positions", name_of(job), max_tokens,
          positions);
    check(writes || n > job.pair.n_context, ErrorKind::invalid,
          "{}: the continuation '{}' has no token of its own behind its context", name_of(job), request.continuation);
    const int64_t over = n - (writes ? positions - max_tokens : positions + 1);  // a target more than rows
    if (over <= 0) return max_tokens;
    check(writes || over < job.pair.n_context, ErrorKind::invalid,
          "{}: a continuation of {} tokens is more than the model's {} positions hold", name_of(job),
          n - job.pair.n_context, positions);
    job.pair.ids.erase(job.pair.ids.begin(), job.pair.ids.begin() + over);
    job.pair.n_context -= std::min(over, job.pair.n_context);
    ++report_.cut;
    return max_tokens;
  }

  // Room for all that is under way, if memory has it (cache_blocks_for). A token has a byte at least.
  void open_engine() {
    const int64_t positions = config().max_positions;
    int64_t longest = 0;
    for (const Item& item : items_)
      for (const Request& request : item.requests) {
        int64_t bytes = int64_t(request.context.size() + request.continuation.size()) + request.max_tokens;
        for (const ChatTurn& turn : request.chat) bytes += int64_t(turn.content.size()) + 16;
        longest = std::max(longest, bytes);
      }
    const int64_t texts = (std::min(longest + kCacheBlock, positions) * options_.running + positions - 1) / positions;
    engine_.emplace(model_.exec, model_.transformer,
                    EngineOptions{.cache_texts = std::max<int64_t>(4, texts), .max_running = options_.running});
  }

  void prepare_scores(EngineRequest& asked, const std::shared_ptr<Job>& job) {
    asked.max_tokens = 0, asked.prompt_log_probs = true, asked.n_top = 1;
    asked.scored_from = job->pair.n_context;
    asked.on_end = [this, job](const EngineResult& result) {
      Reply reply{.greedy = true};
      const int64_t n = int64_t(job->pair.ids.size()) - job->pair.n_context;
      for (size_t i = result.prompt.size() - std::min(size_t(n), result.prompt.size()); i < result.prompt.size(); ++i) {
        const ScoredToken& token = result.prompt[i];
        reply.log_prob += token.log_prob;
        reply.greedy &= !token.top.empty() && token.top[0].id == token.id;
      }
      reply.n_tokens = n;
      end(*job, result, std::move(reply));
      follow(*job);
    };
  }

  void prepare_text(EngineRequest& asked, const std::shared_ptr<Job>& job, const Request& request, int64_t max_tokens) {
    const auto text = std::make_shared<ReplyText>(model_.tokenizer, model_.stop, request);
    asked.max_tokens = max_tokens, asked.stop = model_.stop;
    asked.allowed_ids = model_.tokenizer.vocab_size();
    asked.sampling.temperature = request.samples ? request.temperature : 0;
    asked.sampling.seed = random_bits(
        options_.seed, stream_id("eval.sample", uint64_t(items_[job->item].id), job->request), uint64_t(job->sample));
    asked.on_token = [this, job, text](const ScoredToken& token) {
      if (text->n_tokens() == 0) follow(*job);
      return text->push(token.id);
    };
    asked.on_restart = [text] { text->clear(); };
    asked.on_end = [this, job, text](const EngineResult& result) {
      report_.written_tokens += text->n_tokens();
      end(*job, result, text->reply());
    };
  }

  // On the thread that steps.
  void end(const Job& job, const EngineResult& result, Reply reply) {
    --under_way_;
    report_.cached_tokens += result.n_cached;
    note_failure(job, result);
    done(job, std::move(reply));
  }
  void note_failure(const Job& job, const EngineResult& result) {
    if (result.reason == EndReason::failed && !error_)
      error_.emplace(result.error_kind, fmt::format("{}: {}", name_of(job), result.error));
  }
  void done(const Job& job, Reply reply) {
    all_[job.item][job.request][size_t(job.sample)] = std::move(reply);
    progress_->add(1);
  }

  // A whole text under way: windows that are read beside each other, summed in their order.
  struct Rolling {
    Job job;
    Reply reply;
    bool keeps_tokens = false;
    std::vector<std::vector<double>> parts;  // of each window, what it scores
    size_t left = 0;
  };

  void roll(Job job, const Request& request) {
    std::vector<int32_t> tokens = model_.tokenizer.encode(request.continuation);
    if (request.keeps_tokens && request.max_tokens > 0)
      tokens.resize(std::min(tokens.size(), size_t(request.max_tokens)));
    const int32_t before = model_.start.empty() ? model_.empty_context : model_.start.back();
    const auto windows = rolling_windows(tokens, before, config().max_positions);
    const auto rolling = std::make_shared<Rolling>();
    rolling->job = std::move(job), rolling->reply.n_tokens = int64_t(tokens.size());
    rolling->keeps_tokens = request.keeps_tokens;
    rolling->parts.resize(windows.size()), rolling->left = windows.size();
    report_.prompt_tokens += int64_t(tokens.size());
    for (size_t w = 0; w < windows.size(); ++w) {
      EngineRequest asked{.prompt = windows[w].tokens, .max_tokens = 0};
      asked.prompt_log_probs = true, asked.scored_from = windows[w].scored;
      asked.on_end = [this, rolling, w,
                      n = windows[w].tokens.size() - size_t(windows[w].scored)](const EngineResult& r) {
        --under_way_;
        note_failure(rolling->job, r);
        for (size_t i = r.prompt.size() - std::min(n, r.prompt.size()); i < r.prompt.size(); ++i)
          rolling->parts[w].push_back(r.prompt[i].log_prob);
        if (--rolling->left == 0) end_rolling(*rolling);
      };
      if (!engine_) open_engine();
      ++under_way_;
      engine_->submit(std::move(asked));
    }
    if (windows.empty()) end_rolling(*rolling);
  }
  void end_rolling(Rolling& rolling) {
    for (const std::vector<double>& part : rolling.parts)
      for (const double value : part) {
        rolling.reply.log_prob += value;
        if (rolling.keeps_tokens) rolling.reply.token_log_probs.push_back(value);
      }
    done(rolling.job, std::move(rolling.reply));
    follow(rolling.job);
  }

  const AskedModel& model_;
  const std::vector<Item>& items_;
  const AskOptions& options_;
  AskReport& report_;
  std::vector<std::vector<Replies>> all_;
  std::optional<Engine> engine_;
  std::deque<Job> ready_;
  size_t next_item_ = 0;
  int64_t under_way_ = 0, total_ = 0;
  bool first_was_read_ = false;
  std::optional<Error> error_;
  Progress* progress_ = nullptr;
};

}  // namespace

std::vector<std::vector<Replies>> ask(const AskedModel& model, const std::vector<Item>& items,
                                      const AskOptions& options, AskReport& report) {
  check(options.samples >= 1 && options.running >= 1, ErrorKind::invalid,
        "{} samples of each item, {} requests at a time: both must be at least 1", options.samples, options.running);
  return Asking(model, items, options, report).run();
}

}  // namespace hadal::eval
