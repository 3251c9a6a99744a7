// A step: admit, plan rows (one of each text that is written, and some of prompts), one forward, draw. When
// blocks run out the youngest request gives its own back and begins anew later, from what it has written: the oldest
// always goes on.
#include "engine/engine.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

#include "base/clock.h"
#include "base/error.h"
#include "engine/active_request.h"
#include "engine/drafts.h"
#include "engine/step_rows.h"

namespace hadal {

struct Engine::Impl {
  const Exec exec;
  const Transformer& model;
  EngineOptions options;
  int64_t n_blocks;
  const int64_t n_modules;  // that guess
  const DraftGain draft_gain;
  const TouchedWeights touched;  // bytes
  int64_t paying_drafts = 1;
  std::shared_ptr<LatentCache> cache;
  std::optional<CacheBlocks> blocks;

  std::atomic<int64_t> version = 0;  // of the weights
  std::atomic<double> step_seconds = 0, forward_seconds = 0, weight_bytes = 0;
  WeightSwaps swaps;
  Helpers helpers;                       // that follow constraints
  std::deque<ActiveRequestPtr> waiting;  // of the thread that steps, in the order of ids
  std::vector<ActiveRequestPtr> running;

  mutable std::mutex mutex;  // of all below
  std::condition_variable_any called;
  std::vector<ActiveRequestPtr> inbox;
  std::vector<uint64_t> cancelled;
  EngineCounts counts;
  uint64_t last_id = 0;

  Impl(const Exec& exec, const Transformer& model, const EngineOptions& options)
      : exec(exec),
        model(model),
        options(options),
        n_blocks(cache_blocks_for(exec, model, options)),
        n_modules(draft_modules(model, options)),
        draft_gain(model.config()),
        touched(touched_bytes(model.config(), model.parameters())),
        cache(model.new_cache(exec, n_blocks, n_modules)),
        blocks(std::in_place, n_blocks, kCacheBlock, options.prefix_cache) {
    counts.blocks = n_blocks;
  }

  // As asked, or as many as pay by what was seen; one request of 16 tries one more.
  int64_t drafts_for(const ActiveRequest& request) const {
    if (n_modules == 0 || options.drafts != EngineOptions::kAutomatic) return std::max<int64_t>(0, options.drafts);
    return std::min(paying_drafts + (request.id % 16 == 0), kMostDrafts);
  }

  int64_t longest_text() const { return std::min(model.config().max_positions, n_blocks * kCacheBlock); }

  // Whole blocks of what it has in the cache stay there for others.
  void give_back(ActiveRequest& request) {
    blocks->share(request.held, std::span(request.tokens).first(size_t(request.cached)));
    blocks->release(request.held);
    request.leave_cache();
  }
  void finish(ActiveRequestPtr request, EndReason reason) {
    give_back(*request);
    request->result.reason = reason;
    request->result.weights_version = version;
    request->result.n_generated = request->n_given;
    note();
    if (request->asked.on_end) request->asked.on_end(request->result);
  }
  // Among those who run; end: it has ended, or waits again.
  std::vector<ActiveRequestPtr>::iterator find_running(const ActiveRequest* request) {
    return std::find_if(running.begin(), running.end(), [&](const auto& r) { return r.get() == request; });
  }
  void finish(ActiveRequest* request, EndReason reason) {
    const auto at = find_running(request);
    ActiveRequestPtr taken = std::move(*at);
    running.erase(at);
    finish(std::move(taken), reason);
  }
  void fail(ActiveRequest* request, const std::exception& error) {
    request->result.failed(error);
    finish(request, EndReason::failed);
  }

  // The youngest gives its blocks back and waits in front of all others, to read anew what it had.
  void preempt_youngest() {
    ActiveRequestPtr request = std::move(running.back());
    running.pop_back();
    give_back(*request);
    waiting.push_front(std::move(request));
    count([](EngineCounts& c) { ++c.preemptions; });
  }

  template <class Change>
  void count(Change change) {
    const std::lock_guard lock(mutex);
    change(counts);
  }
  void note() {
    const std::lock_guard lock(mutex);
    counts.waiting = int64_t(waiting.size() + inbox.size()), counts.running = int64_t(running.size());
    counts.blocks_used = blocks->n_used(), counts.blocks_held = n_blocks - blocks->n_available();
    counts.evictions = blocks->n_evicted();
  }

  void take_calls() {
    std::vector<ActiveRequestPtr> ended;
    {
      const std::lock_guard lock(mutex);
      for (ActiveRequestPtr& request : inbox) waiting.push_back(std::move(request));
      inbox.clear();
      for (const uint64_t id : cancelled) {
        const auto take = [&](auto& list) {
          const auto at = std::find_if(list.begin(), list.end(), [&](const auto& r) { return r->id == id; });
          if (at == list.end()) return;
          ended.push_back(std::move(*at));
          list.erase(at);
        };
        take(waiting), take(running);
      }
      cancelled.clear();
    }
    for (ActiveRequestPtr& request : ended) finish(std::move(request), EndReason::cancelled);
  }

  // Back to its prompt.
  void begin_anew(ActiveRequest& request) {
    give_back(request);
    request.begin();
    if (request.asked.on_restart) request.asked.on_restart();
  }

  // Exchanges weights where someone asked for it and nobody writes with the old ones. False: those who have begun to
  // write must end first, and nobody else joins them. Where the change fails, nothing has happened to anyone.
  bool exchange() {
    while (const std::optional<SwapWeights> how = swaps.next()) {
      const bool under_way = std::any_of(waiting.begin(), waiting.end(), [](const auto& r) { return r->n_given > 0; });
      if (*how == SwapWeights::finish && (!running.empty() || under_way)) return false;
      swaps.carry_out([&] {
        ++version;
        count([&](EngineCounts& c) { c.weights_version = version; });
        for (auto at = running.rbegin(); at != running.rend(); ++at) waiting.push_front(std::move(*at));
        running.clear();
        for (const ActiveRequestPtr& request : waiting)
          if (request->began()) begin_anew(*request);
        blocks.emplace(n_blocks, kCacheBlock, options.prefix_cache);
      });
    }
    return true;
  }

  // Those who wait join, the first first, while what they read fits; alone, anyone does (check_request). Leaving: those
  // alone who have begun to write, past whoever waits before them.
  void admit(bool leaving) {
    while (int64_t(running.size()) < options.max_running) {
      const auto may_join = [&](const auto& request) { return !leaving || request->n_given > 0; };
      const auto at = std::find_if(waiting.begin(), waiting.end(), may_join);
      if (at == waiting.end()) return;
      ActiveRequest& next = **at;
      if (!running.empty() && cache_blocks_of(next.n_tokens() + 1) > blocks->n_available()) return;
      next.cached = blocks->adopt(next.held, std::span(next.tokens).first(size_t(next.n_adoptable())));
      if (next.n_given == 0) next.result.n_cached = next.cached;
      next.drafting = drafts_for(next) > 0, next.settled = next.cached;
      count([&](EngineCounts& c) { c.cached_tokens += next.cached; });
      running.push_back(std::move(*at));
      waiting.erase(at);
    }
  }

  // Blocks for n more tokens, if need be of younger requests. False: it had to give back its own.
  bool make_room(ActiveRequest& request, int64_t n) {
    while (true) {
      const int64_t more = request.blocks_to_add(n);
      if (more <= 0 || blocks->grow(request.held, more)) return true;
      const bool self = running.back().get() == &request;
      check(!self || running.size() > 1, ErrorKind::internal, "{} blocks do not hold one text", n_blocks);
      preempt_youngest();
      if (self) return false;
    }
  }

  std::vector<PlannedRows> plan() {
    std::vector<int64_t> rows = rows_to_read(running, options.step_tokens);
    std::vector<PlannedRows> planned;
    for (size_t i = 0; i < running.size(); ++i) {  // the list may grow shorter behind this one
      ActiveRequest& request = *running[i];
      const int64_t n = rows[i];
      if (n == 0) continue;
      PlannedRows one{.request = &request, .n = n, .draws = request.draws() && n == request.n_left()};
      const int64_t n_drafts = int64_t(request.drafts.size());  // that take nothing from others
      if (one.draws && request.blocks_to_add(n + n_drafts) <= blocks->n_available()) one.n_drafts = n_drafts;
      if (!make_room(request, one.n_rows())) break;
      if (request.asked.prompt_log_probs && request.scored < request.n_prompt())
        one.n_wanted = std::max<int64_t>(0, request.cached + n - std::max(request.cached, request.scored - 1));
      if (one.draws) one.n_wanted = std::max<int64_t>(1, one.n_wanted) + one.n_drafts;
      planned.push_back(one);
    }
    return planned;
  }

  // Hands out what a row gave.
  void take(DrawnRow& row) {
    if (find_running(row.request) == running.end()) return;  // it ended with a row before
    ActiveRequest& request = *row.request;
    if (row.error) return fail(&request, *row.error);
    if (row.token.id < 0) return;
    if (!row.draws) {
      request.result.prompt.push_back(std::move(row.token));
      ++request.scored;
      return;
    }
    count([](EngineCounts& c) { ++c.generated_tokens; });
    bool goes_on = true;
    try {
      goes_on = request.hand_out(row.token);
    } catch (const std::exception& error) {
      return fail(&request, error);
    }
    if (request.stops_at(row.token.id) || (goes_on && row.last)) return finish(&request, EndReason::stop);
    if (!goes_on) return finish(&request, EndReason::cancelled);
    if (request.n_given == request.asked.max_tokens && !request.held_up) finish(&request, EndReason::length);
  }

  // Texts go on whose constraints have found out what may come next: perhaps nothing.
  void let_go_on() {
    std::vector<ActiveRequest*> found;
    for (const auto& request : running)
      if (request->held_up && request->constrained->ready()) found.push_back(request.get());
    for (ActiveRequest* request : found) {
      try {
        if (const auto end = request->let_go_on()) finish(request, *end);
      } catch (const std::exception& error) {
        fail(request, error);
      }
    }
  }

  // The rows of a step enter the cache; what they gave goes out; drafts are made for those who go on.
  void use(std::vector<PlannedRows>& planned, const Tensor& logits, const Tensor& states) {
    std::vector<DrawnRow> rows = draw_rows(exec, model.config(), planned, logits);
    std::vector<DraftedText> drafting;
    int64_t first_row = 0;
    for (const PlannedRows& p : planned) {
      ActiveRequest& request = *p.request;
      if (request.drafting) drafting.push_back({&request, request.cached, first_row});
      first_row += p.n_rows();
      request.cached += p.n + p.n_accepted;
      request.drafts.clear();
      const int64_t written = request.drafting ? request.settled : request.cached;  // and never again
      blocks->share(request.held, std::span(request.tokens).first(size_t(written)));
      count([&](EngineCounts& c) { c.drafts.add(p.n_drafts, p.n_accepted); });
    }
    for (DrawnRow& row : rows) take(row);
    finish_read();
    std::erase_if(drafting, [&](DraftedText& one) {
      if (find_running(one.request) == running.end()) return true;
      one.n_wanted = drafts_for(*one.request);
      one.request->drafting = one.n_wanted > 0;
      return !one.request->drafting;
    });
    try {
      const AddSeconds timing(forward_seconds);
      make_drafts(exec, model, *cache, options, drafting, states);
    } catch (const std::exception&) {  // no text needs a draft: those of this step go on without
      for (const DraftedText& one : drafting) one.request->drafting = false, one.request->drafts.clear();
    }
  }

  // Requests that only had their prompt read.
  void finish_read() {
    std::vector<ActiveRequest*> read;
    for (const auto& request : running)
      if (!request->draws() && request->n_left() == 0) read.push_back(request.get());
    for (ActiveRequest* request : read) finish(request, EndReason::length);
  }

  // Where it fails, each text goes alone, so that only those end whose own fails.
  void forward(std::vector<PlannedRows>& planned) {
    const bool drafts = std::any_of(planned.begin(), planned.end(), [](const auto& p) { return p.request->drafting; });
    Tensor states, logits;
    try {
      Guesses guesses;
      for (const PlannedRows& p : planned)
        for (int64_t i = 0; i < p.n_drafts; ++i) guesses.add(*p.request, p.request->drafts[size_t(i)]);
      const AddSeconds timing(forward_seconds);
      logits =
          model.extend(exec, *cache, extensions_of(planned), drafts ? &states : nullptr, observer_of(options, planned));
    } catch (const std::exception& error) {
      if (planned.size() == 1) return fail(planned[0].request, error);
      for (const PlannedRows& p : planned) step_with({p});
      return;
    }
    weight_bytes += touched.by(double(n_rows_of(planned)));
    use(planned, logits, states);
  }

  void step_with(std::vector<PlannedRows> planned) {
    try {
      forward(planned);
    } catch (const std::exception& error) {
      for (const PlannedRows& p : planned)
        if (find_running(p.request) != running.end()) fail(p.request, error);
    }
  }

  bool step() {
    const AddSeconds timing(step_seconds);
    take_calls();
    let_go_on();
    if (n_modules > 0 && options.drafts == EngineOptions::kAutomatic)
      paying_drafts = draft_gain.choose(counts.drafts, std::max<int64_t>(1, int64_t(running.size())));
    admit(!exchange());
    std::vector<PlannedRows> planned = plan();
    note();
    if (planned.empty()) {
      const bool held_up = std::any_of(running.begin(), running.end(), [](const auto& r) { return r->held_up; });
      if (held_up) helpers.wait(std::chrono::milliseconds(20));  // and then looks whether somebody called
      return held_up;
    }
    step_with(std::move(planned));
    note();
    return true;
  }
};

Engine::Engine(const Exec& exec, const Transformer& model, const EngineOptions& options)
    : impl_(std::make_unique<Impl>(exec, model, options)) {}
Engine::~Engine() = default;

uint64_t Engine::submit(EngineRequest request) {
  check_request(request, impl_->model.config(), impl_->n_blocks);
  auto active = std::make_unique<ActiveRequest>();
  active->asked = std::move(request), active->helpers = &impl_->helpers;
  active->begin();
  const std::lock_guard lock(impl_->mutex);
  ++impl_->counts.requests, ++impl_->counts.waiting, impl_->counts.prompt_tokens += active->n_prompt();
  const uint64_t id = active->id = ++impl_->last_id;
  impl_->inbox.push_back(std::move(active));
  impl_->called.notify_all();
  return id;
}

void Engine::cancel(uint64_t id) {
  const std::lock_guard lock(impl_->mutex);
  impl_->cancelled.push_back(id);
  impl_->called.notify_all();
}

EngineCounts Engine::counts() const {
  const std::lock_guard lock(impl_->mutex);
  EngineCounts counts = impl_->counts;
  counts.step_seconds = impl_->step_seconds, counts.forward_seconds = impl_->forward_seconds;
  counts.weight_bytes = impl_->weight_bytes;
  return counts;
}

std::future<void> Engine::swap_weights(std::function<void()> change, SwapWeights how) {
  const std::lock_guard lock(impl_->mutex);
  std::future<void> done = impl_->swaps.add(std::move(change), how);
  impl_->called.notify_all();
  return done;
}

int64_t Engine::weights_version() const { return impl_->version; }

int64_t Engine::longest_text() const { return impl_->longest_text(); }

bool Engine::step() { return impl_->step(); }

void Engine::run(std::stop_token stop) {
  impl_->swaps.open();
  const std::unique_ptr<WeightSwaps, void (*)(WeightSwaps*)> closes(&impl_->swaps, [](WeightSwaps* s) { s->close(); });
  while (!stop.stop_requested()) {
    if (step()) continue;
    std::unique_lock lock(impl_->mutex);
    impl_->called.wait(lock, stop,
                       [&] { return !impl_->inbox.empty() || !impl_->cancelled.empty() || !impl_->swaps.empty(); });
  }
  {
    const std::lock_guard lock(impl_->mutex);
    for (const auto& request : impl_->inbox) impl_->cancelled.push_back(request->id);
    for (const auto& request : impl_->waiting) impl_->cancelled.push_back(request->id);
    for (const auto& request : impl_->running) impl_->cancelled.push_back(request->id);
  }
  impl_->take_calls();
}

}  // namespace hadal
