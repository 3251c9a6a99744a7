// One request after the other through generate(): a stand-in with the interface of the paged engine.
#include "engine/engine.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <utility>

#include "base/error.h"
#include "engine/generator.h"

namespace hadal {

struct Engine::Impl {
  const Exec& exec;
  const Transformer& model;
  EngineOptions options;
  mutable std::mutex mutex;
  std::condition_variable_any changed;
  std::deque<std::pair<uint64_t, EngineRequest>> waiting;
  std::set<uint64_t> cancelled;
  uint64_t next = 1, running = 0;
  EngineCounts counts;

  bool is_cancelled(uint64_t id) {
    const std::lock_guard lock(mutex);
    return cancelled.count(id) > 0;
  }

  void run_one(uint64_t id, EngineRequest& request) {
    EngineResult result;
    const auto scored = [&](int32_t token) {
      ScoredToken one{token, -0.5, {}};
      for (int64_t i = 0; i < request.n_top; ++i)
        one.top.push_back({int32_t((token + i) % model.config().vocab_size), -0.5 - double(i)});
      return one;
    };
    if (request.prompt_log_probs)
      for (int32_t token : request.prompt) result.prompt.push_back(scored(token));
    if (!result.prompt.empty()) result.prompt[0].log_prob = 0, result.prompt[0].top.clear();
    GenerateRequest plain;
    plain.prompt = request.prompt;
    plain.max_tokens = request.max_tokens;
    plain.stop = request.stop;
    plain.allowed_ids = request.allowed_ids;
    plain.sampling = request.sampling;
    bool ended = false;
    plain.on_token = [&](int32_t token) {
      ++result.n_generated;
      std::unique_lock lock(mutex);
      ++counts.generated_tokens;
      lock.unlock();
      ended = is_cancelled(id) || (request.on_token && !request.on_token(scored(token)));
      return !ended;
    };
    try {
      const bool stopped = generate(exec, model, plain).stopped;
      result.reason = ended ? EndReason::cancelled : stopped ? EndReason::stop : EndReason::length;
    } catch (const std::exception& error) {
      result.reason = EndReason::failed;
      result.error = error.what();
    }
    if (request.on_end) request.on_end(result);
  }
};

Engine::Engine(const Exec& exec, const Transformer& model, const EngineOptions& options)
    : impl_(new Impl{exec, model, options, {}, {}, {}, {}, 1, 0, {}}) {}
Engine::~Engine() = default;

uint64_t Engine::submit(EngineRequest request) {
  const auto& config = impl_->model.config();
  check(!request.prompt.empty(), ErrorKind::invalid, "the prompt is empty; give at least one token");
  const int64_t length = int64_t(request.prompt.size()) + request.max_tokens;
  check(length <= config.max_positions, ErrorKind::invalid,
        "{} prompt tokens and {} new ones make {}, more than the model's {} positions", request.prompt.size(),
        request.max_tokens, length, config.max_positions);
  for (int32_t id : request.prompt) {
    check(id >= 0 && id < config.vocab_size, ErrorKind::invalid, "token id {} must lie in 0 .. {}", id,
          config.vocab_size - 1);
  }
  validate(request.sampling);
  const std::lock_guard lock(impl_->mutex);
  ++impl_->counts.requests;
  impl_->counts.prompt_tokens += int64_t(request.prompt.size());
  impl_->waiting.emplace_back(impl_->next, std::move(request));
  impl_->changed.notify_all();
  return impl_->next++;
}

void Engine::cancel(uint64_t id) {
  const std::lock_guard lock(impl_->mutex);
  impl_->cancelled.insert(id);
}

EngineCounts Engine::counts() const {
  const std::lock_guard lock(impl_->mutex);
  EngineCounts counts = impl_->counts;
  counts.waiting = int64_t(impl_->waiting.size());
  counts.running = int64_t(impl_->running);
  counts.blocks = 64, counts.blocks_used = counts.running;
  return counts;
}

bool Engine::step() {
  std::unique_lock lock(impl_->mutex);
  if (impl_->waiting.empty()) return false;
  auto [id, request] = std::move(impl_->waiting.front());
  impl_->waiting.pop_front();
  impl_->running = 1;
  lock.unlock();
  impl_->run_one(id, request);
  lock.lock();
  impl_->running = 0;
  return true;
}

void Engine::run(std::stop_token stop) {
  while (!stop.stop_requested()) {
    if (step()) continue;
    std::unique_lock lock(impl_->mutex);
    impl_->changed.wait(lock, stop, [&] { return !impl_->waiting.empty(); });
  }
  for (;;) {
    std::unique_lock lock(impl_->mutex);
    if (impl_->waiting.empty()) return;
    auto [id, request] = std::move(impl_->waiting.front());
    impl_->waiting.pop_front();
    lock.unlock();
    EngineResult result;
    result.reason = EndReason::cancelled;
    if (request.on_end) request.on_end(result);
  }
}

}  // namespace hadal
