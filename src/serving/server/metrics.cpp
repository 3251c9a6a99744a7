#include "server/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

namespace hadal {
namespace {

template <class Number>
void print_value(std::string& out, const char* name, const char* kind, const char* help, Number value) {
  out += fmt::format("# HELP {} {}\n# TYPE {} {}\n{} {}\n", name, help, name, kind, name, value);
}

void print_by_place(std::string& out, const char* name, const char* help, std::span<const int64_t> counts) {
  out += fmt::format("# HELP {} {}\n# TYPE {} counter\n", name, help, name);
  for (size_t i = 0; i < counts.size(); ++i) out += fmt::format("{}{{place=\"{}\"}} {}\n", name, i + 1, counts[i]);
}

}  // namespace

void Histogram::add(double value) {
  const std::lock_guard lock(mutex_);
  const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  ++counts_[size_t(at)], ++n_;
  sum_ += value;
}

void Histogram::print(std::string& out, const std::string& name, const char* help) const {
  const std::lock_guard lock(mutex_);
  out += fmt::format("# HELP {} {}\n# TYPE {} histogram\n", name, help, name);
  int64_t below = 0;
  for (size_t i = 0; i < bounds_.size(); ++i)
    out += fmt::format("{}_bucket{{le=\"{}\"}} {}\n", name, bounds_[i], below += counts_[i]);
  out += fmt::format("{}_bucket{{le=\"+Inf\"}} {}\n{}_sum {}\n{}_count {}\n", name, n_, name, sum_, name, n_);
}

Metrics::Metrics(double memory_read_speed)
    : memory_read_speed_(memory_read_speed),
      first_token_({0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60}),
      next_token_({0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2.5}),
      whole_({0.01, 0.05, 0.1, 0.3, 0.5, 1, 2.5, 5, 10, 15, 20, 30, 60, 120, 300, 600}) {}

void Metrics::count_answer(const std::string& endpoint, int status) {
  const std::lock_guard lock(mutex_);
  ++answers_[{endpoint, status}];
}

std::string Metrics::text(const EngineCounts& e, const HttpCounts& http) const {
  std::string out;
  print_value(out, "hadal_requests_waiting", "gauge", "Requests that wait for a place in the engine.", e.waiting);
  print_value(out, "hadal_requests_running", "gauge", "Requests in the engine's steps.", e.running);
  print_value(out, "hadal_cache_blocks", "gauge", "Blocks of the latent cache.", e.blocks);
  print_value(out, "hadal_cache_blocks_used", "gauge", "Blocks held by requests or kept for prompts that begin alike.",
              e.blocks_used);
  print_value(out, "hadal_cache_blocks_held", "gauge", "Blocks held by requests.", e.blocks_held);
  print_value(out, "hadal_engine_requests_total", "counter", "Requests given to the engine.", e.requests);
  print_value(out, "hadal_prompt_tokens_total", "counter", "Tokens of prompts.", e.prompt_tokens);
  print_value(out, "hadal_cached_tokens_total", "counter", "Tokens of prompts whose latents were there already.",
              e.cached_tokens);
  print_value(out, "hadal_generated_tokens_total", "counter", "New tokens.", e.generated_tokens);
  print_value(out, "hadal_preemptions_total", "counter", "Requests that had to give their blocks back for a while.",
              e.preemptions);
  print_value(out, "hadal_evictions_total", "counter", "Blocks kept for prompts that made room for others.",
              e.evictions);
  print_by_place(out, "hadal_tried_drafts_total", "Drafts by their place, the first of a text and step at 1.",
                 e.drafts.tried);
  print_by_place(out, "hadal_right_drafts_total", "Those of them that were drawn, as all before them were.",
                 e.drafts.right);
  print_value(out, "hadal_step_seconds_total", "counter", "What the engine's steps took.", e.step_seconds);
  print_value(out, "hadal_forward_seconds_total", "counter", "What the model took in them.", e.forward_seconds);
  print_value(out, "hadal_weight_bytes_total", "counter",
              "Weights that the model read in that time; of experts what even routing touches.", e.weight_bytes);
  if (memory_read_speed_ > 0) {
    print_value(out, "hadal_memory_read_speed", "gauge", "Bytes a second that this machine's memory is read at.",
                memory_read_speed_);
    const double speed = e.forward_seconds > 0 ? e.weight_bytes / e.forward_seconds : 0;
    print_value(out, "hadal_memory_read_share", "gauge",
                "The share of that speed at which the model read its weights, since the start.",
                speed / memory_read_speed_);
  }
  print_value(out, "hadal_weights_version", "gauge", "Exchanges of weights since the start.", e.weights_version);
  print_value(out, "hadal_http_connections", "gauge", "Open connections.", http.connections);
  print_value(out, "hadal_http_accepted_total", "counter", "Connections since the start.", http.accepted);
  print_value(out, "hadal_http_cut_off_total", "counter", "Connections that were closed for the server's sake.",
              http.cut_off);
  first_token_.print(out, "hadal_first_token_seconds", "From the request to its first token.");
  next_token_.print(out, "hadal_next_token_seconds", "From one token of a request to its next.");
  whole_.print(out, "hadal_request_seconds", "From the request to the end of its answer.");
  out += "# HELP hadal_http_requests_total Answers by endpoint and status.\n# TYPE hadal_http_requests_total counter\n";
  const std::lock_guard lock(mutex_);
  for (const auto& [key, n] : answers_)
    out += fmt::format("hadal_http_requests_total{{path=\"{}\",status=\"{}\"}} {}\n", key.first, key.second, n);
  return out;
}

}  // namespace hadal
