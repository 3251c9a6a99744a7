#include "server/job.h"

#include <algorithm>
#include <ctime>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"

namespace hadal {

struct Job::Decoding {
  Decoding(const Tokenizer* tokenizer, const AnswerSettings& settings, std::vector<int32_t> ends)
      : stops(settings.stop), end_ids(std::move(ends)) {
    if (tokenizer != nullptr) decoder.emplace(*tokenizer, settings.skip_special);
  }
  std::string push(int32_t id) {
    if (!decoder || std::find(end_ids.begin(), end_ids.end(), id) != end_ids.end()) return "";
    return whole_text(stops.push(decoder->push(id)));
  }
  std::string finish() {
    if (!decoder) return "";
    std::string text = stops.push(decoder->finish());
    return whole_text(text + stops.finish());
  }
  std::optional<StreamDecoder> decoder;
  StopStrings stops;
  std::vector<int32_t> end_ids;
  std::string error;  // of our own part
};

Job::Job(const ServingParts& p, std::shared_ptr<HttpReply> r, std::vector<ServedPrompt> ps, AnswerSettings s)
    : parts(p),
      reply(std::move(r)),
      prompts(std::move(ps)),
      settings(std::move(s)),
      created(int64_t(std::time(nullptr))),
      start_seconds_(steady_seconds()) {}

Job::~Job() = default;

std::string Job::text_of_json(const Json& json) { return json_text(json, {.lossy = true}); }

EngineRequest Job::request_of(Choice& choice, int64_t max_tokens, bool prompt_log_probs) {
  EngineRequest request;
  request.prompt = prompts[choice.prompt].ids;
  request.max_tokens = max_tokens;
  request.min_tokens = std::min(settings.min_tokens, max_tokens);
  request.stop = decodings_[size_t(choice.index)]->end_ids;
  if (const Tokenizer* tokenizer = parts.model.tokenizer()) request.allowed_ids = tokenizer->vocab_size();
  request.sampling = settings.sampling;
  request.constraint = settings.constraint;
  request.sampling.seed = seed_of(choice);
  request.n_top = settings.log_probs ? settings.n_top : 0;
  request.prompt_log_probs = prompt_log_probs;
  if (settings.receipt) choice.asked = request;
  const auto self = shared_from_this();
  const auto at = size_t(choice.index);
  request.on_token = [self, at](const ScoredToken& token) { return self->on_token(at, token); };
  request.on_end = [self, at](const EngineResult& result) { self->on_end(at, result); };
  if (prompt_log_probs && settings.stream)
    request.on_prompt = [self, at](const std::vector<ScoredToken>& prompt) {
      self->choices[at].result.prompt = prompt;
    };
  request.on_restart = [self, at] { self->on_restart(at); };
  return request;
}

void Job::start(int64_t n, int64_t otherwise_tokens, bool prompt_log_probs) {
  std::vector<int64_t> most;
  for (const ServedPrompt& prompt : prompts)
    most.push_back(parts.model.room_for(int64_t(prompt.ids.size()), settings.max_tokens, otherwise_tokens));
  const auto total = int64_t(prompts.size()) * n;
  if (total > parts.most_choices)
    refuse("n", "{} prompts with {} answers each are more than {}; ask for fewer at once", prompts.size(), n,
           parts.most_choices);
  if (parts.open_choices.fetch_add(total) + total > parts.most_choices) {
    parts.open_choices -= total;
    throw ApiError(429, fmt::format("{} answers are under way already; ask again later", parts.most_choices), "",
                   "overloaded");
  }
  left_ = total;
  choices.resize(size_t(total));
  std::vector<int32_t> ends = settings.stop_ids;
  if (!settings.ignore_eos)
    ends.insert(ends.end(), parts.model.text_model().stop.begin(), parts.model.text_model().stop.end());
  for (int64_t i = 0; i < total; ++i) {
    choices[size_t(i)].index = i, choices[size_t(i)].prompt = size_t(i / n);
    decodings_.push_back(std::make_unique<Decoding>(parts.model.tokenizer(), settings, ends));
  }
  reply->on_gone([self = weak_from_this()] {
    if (const auto there = self.lock()) there->cancel();
  });
  if (settings.stream) reply->begin(200, "text/event-stream");
  on_begun();
  for (int64_t i = 0; i < total; ++i) {
    EngineResult refused;
    try {
      const uint64_t id = parts.engine.submit(request_of(choices[size_t(i)], most[size_t(i / n)], prompt_log_probs));
      const std::lock_guard lock(mutex_);
      ids_.push_back(id);
      if (cancelled_) parts.engine.cancel(id);
      continue;
    } catch (const Error& error) {  // checked before, all but what the engine alone knows
      refused.error = error.what();
      refused.error_kind = error.kind();
    }
    refused.reason = EndReason::failed;
    on_end(size_t(i), refused);
  }
}

// Weights were exchanged. What a peer has been sent cannot be taken back, so a stream ends there.
void Job::on_restart(size_t at) {
  Choice& choice = choices[at];
  if (settings.stream && !choice.tokens.empty()) {
    decodings_[at]->error = "the weights were exchanged while this answer was being written; ask again";
    choice.status = 503;
    return;
  }
  decodings_[at] = std::make_unique<Decoding>(parts.model.tokenizer(), settings, std::move(decodings_[at]->end_ids));
  choice.text.clear(), choice.tokens.clear();
  on_choice_restart(choice);
}

void Job::cancel() {
  std::vector<uint64_t> ids;
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    ids = ids_;
  }
  for (const uint64_t id : ids) parts.engine.cancel(id);
}

bool Job::on_token(size_t at, const ScoredToken& token) {
  Choice& choice = choices[at];
  Decoding& decoding = *decodings_[at];
  if (!decoding.error.empty()) return false;
  try {
    const double now = steady_seconds();
    if (choice.tokens.empty())
      parts.metrics.first_token(now - start_seconds_);
    else
      parts.metrics.next_token(now - choice.last_token_seconds);
    choice.last_token_seconds = now;
    parts.model.check_intact(0.1);  // now and then; at the end for certain
    const std::string text = decoding.push(token.id);
    choice.tokens.push_back(token);
    on_text(choice, text, &token);
    return !decoding.stops.found() && !reply->gone();
  } catch (const std::exception& error) {
    decoding.error = error.what();
    return false;
  }
}

void Job::on_end(size_t at, const EngineResult& result) {
  Choice& choice = choices[at];
  Decoding& decoding = *decodings_[at];
  choice.result = result;
  choice.error = decoding.error.empty() ? result.error : decoding.error;
  if (!result.error.empty() && decoding.error.empty())
    choice.status = api_error_of(Error(result.error_kind, result.error)).status;
  try {
    parts.model.check_intact();
    if (const std::string rest = decoding.finish(); !rest.empty()) on_text(choice, rest, nullptr);
  } catch (const std::exception& error) {
    choice.error = error.what();
  }
  if (!choice.error.empty() || result.reason == EndReason::failed)
    choice.finish = "error";
  else if (decoding.stops.found() || result.reason == EndReason::stop)
    choice.finish = "stop";
  else
    choice.finish = result.reason == EndReason::length ? "length" : "cancelled";
  if (choice.finish == "error" && choice.error.empty()) choice.error = "the engine gave no reason";
  if (choice.finish == "cancelled") choice.error = "the server is ending; ask again when it is back";
  on_choice_end(choice);
  --parts.open_choices;
  if (--left_ > 0) return;
  parts.metrics.whole_request(steady_seconds() - start_seconds_);
  on_all_ended();
}

uint64_t Job::seed_of(const Choice& choice) const {
  return seed_of_choice(settings.sampling.seed, choice.index % int64_t(choices.size() / prompts.size()));
}

void Job::sign(Json& answer, const Choice& choice) const {
  answer["weights_version"] = choice.result.weights_version;
  answer["seed"] = seed_of(choice);
  if (settings.receipt) answer["receipt"] = receipt(choice);
}

std::string Job::fingerprint() const {
  const Receipt& r = parts.receipt;
  return fmt::format("{}-{}-{}-{}-{}-{}", parts.model.identity(parts.engine.weights_version()).substr(0, 12),
                     r.isa.empty() ? r.device : r.isa, r.precision, r.weights, r.attention_form, r.cache);
}

Json Job::receipt(const Choice& choice) const {
  Receipt receipt = parts.receipt;
  receipt.weights_version = choice.result.weights_version;
  receipt.weights_identity = parts.model.identity(receipt.weights_version);
  receipt.asked = choice.asked;
  receipt.format = settings.format;
  receipt.tokens = choice.tokens;
  return receipt_json(receipt);
}

Json Job::usage() const {
  int64_t prompt = 0, generated = 0, cached = 0;
  for (size_t i = 0; i < choices.size(); ++i) {
    if (i == 0 || choices[i].prompt != choices[i - 1].prompt) {
      prompt += int64_t(prompts[choices[i].prompt].ids.size());
      cached += choices[i].result.n_cached;
    }
    generated += int64_t(choices[i].tokens.size());
  }
  return {{"prompt_tokens", prompt},
          {"completion_tokens", generated},
          {"total_tokens", prompt + generated},
          {"prompt_tokens_details", {{"cached_tokens", cached}}}};
}

std::optional<ApiError> Job::failure() const {
  for (const Choice& choice : choices)
    if (!choice.error.empty()) return ApiError(choice.finish == "cancelled" ? 503 : choice.status, choice.error);
  return {};
}

}  // namespace hadal
