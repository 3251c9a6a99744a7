#include "server/completions.h"

#include <algorithm>
#include <random>

#include "server/api_error.h"
#include "server/constraints.h"
#include "server/log_probs.h"
#include "text/stream_decoder.h"

namespace hadal {
namespace {

constexpr int64_t kMostPrompts = 256, kDefaultTokens = 16;  // 16: of OpenAI's API

struct CompletionRequest {
  AnswerSettings settings;
  std::vector<ServedPrompt> prompts;
  bool echo = false;
  int64_t best_of = 1;
};

std::vector<ServedPrompt> read_prompts(const JsonFields& fields, const ServedModel& model) {
  const Json* prompt = fields.find("prompt");
  const bool special = fields.boolean("parse_special");
  if (prompt == nullptr) refuse("prompt", "prompt is missing: a text, a list of texts, of token ids, or of such lists");
  if (const auto suffix = fields.text("suffix")) {
    if (!prompt->is_string()) refuse("prompt", "prompt = {} must be one text where there is a suffix", shown(*prompt));
    return {model.prompt_of_hole(prompt->get<std::string>(), *suffix)};
  }
  if (prompt->is_string()) return {model.prompt_of_text(prompt->get<std::string>(), special)};
  if (!prompt->is_array() || prompt->empty())
    refuse("prompt", "prompt = {} must be a text, a list of texts, of token ids, or of such lists", shown(*prompt));
  if ((*prompt)[0].is_number()) return {model.prompt_of_ids(token_ids(*prompt, "prompt", model.vocabulary()))};
  if (int64_t(prompt->size()) > kMostPrompts)
    refuse("prompt", "prompt has {} prompts; at most {} are taken at once", prompt->size(), kMostPrompts);
  std::vector<ServedPrompt> prompts;
  for (size_t i = 0; i < prompt->size(); ++i) {
    const Json& one = (*prompt)[i];
    const std::string name = fmt::format("prompt[{}]", i);
    if (one.is_string())
      prompts.push_back(model.prompt_of_text(one.get<std::string>(), special));
    else if (one.is_array())
      prompts.push_back(model.prompt_of_ids(token_ids(one, name, model.vocabulary())));
    else
      refuse("prompt", "{} = {} must be a text or a list of token ids", name, shown(one));
  }
  return prompts;
}

void check_names(const JsonFields& fields) {
  fields.check_names({setting_names(),
                      names_without_effect(),
                      constraint_names(),
                      {"prompt", "suffix", "echo", "logprobs", "best_of", "parse_special"}});
}

CompletionRequest read_request(const Json& json, const ServingParts& parts) {
  const ServedModel& model = parts.model;
  const JsonFields fields(json);
  check_names(fields);
  model.check_name(fields);
  CompletionRequest request;
  SettingsLimits limits = model.limits();
  limits.least_max_tokens = 0;
  AnswerSettings& settings = request.settings;
  settings = read_settings(fields, limits, model.text_model().makers);
  request.echo = fields.boolean("echo");
  if (const auto top = fields.integer("logprobs", 0, kMostTopLogProbs))
    settings.log_probs = true, settings.n_top = *top;
  request.best_of = fields.integer("best_of", 1, kMostChoices).value_or(settings.n);
  if (request.best_of < settings.n)
    refuse("best_of", "best_of = {} must be at least n = {}", request.best_of, settings.n);
  if (settings.stream && request.best_of > settings.n)
    refuse("best_of", "best_of = {} above n = {} cannot be streamed: the best is known at the end", request.best_of,
           settings.n);
  if (request.echo && fields.find("suffix") != nullptr) refuse("echo", "echo does not go with suffix");
  if (model.tokenizer() == nullptr) {
    settings.return_token_ids = true;
    if (!settings.stop.empty()) refuse("stop", "stop needs a tokenizer, which this model has not; use stop_token_ids");
  }
  const std::optional<Json> format = format_of_request(fields);
  request.prompts = read_prompts(fields, model);
  if (format) constrain(settings, parts, *format, name_of_constraint(fields));
  return request;
}

class CompletionJob : public Job {
 public:
  CompletionJob(const ServingParts& p, std::shared_ptr<HttpReply> r, CompletionRequest request)
      : Job(p, std::move(r), std::move(request.prompts), std::move(request.settings)),
        echo_(request.echo),
        best_of_(request.best_of),
        name_(random_name("cmpl-")) {}

  void run() { start(best_of_, kDefaultTokens, echo_ && settings.log_probs); }

 protected:
  void on_text(Choice& choice, const std::string& text, const ScoredToken* token) override {
    if (!settings.stream) {
      choice.text += text;
      return;
    }
    if (offsets_.empty()) offsets_.resize(choices.size());
    const bool first = token != nullptr && choice.tokens.size() == 1;
    std::string out = first && echo_ ? whole_text(prompts[choice.prompt].text) + text : text;
    Json one = {{"index", choice.index}, {"text", std::move(out)}, {"logprobs", nullptr}, {"finish_reason", nullptr}};
    if (settings.log_probs && token != nullptr) {
      CompletionLogProbs log_probs(parts.model, offsets_[size_t(choice.index)]);
      if (first) add_prompt(log_probs, choice);
      log_probs.add(*token);
      one["logprobs"] = log_probs.json();
    }
    if (settings.return_token_ids && token != nullptr) one["token_ids"] = Json::array({token->id});
    const bool says = !one["text"].get_ref<const std::string&>().empty() || settings.log_probs;
    if (says || settings.return_token_ids) send(std::move(one));
  }

  void on_choice_end(Choice& choice) override {
    if (!settings.stream || !choice.error.empty()) return;
    const bool unsaid = echo_ && choice.tokens.empty();  // max_tokens 0
    TextOffsets offsets;
    CompletionLogProbs log_probs(parts.model, offsets);
    if (unsaid) add_prompt(log_probs, choice);
    Json last = {{"index", choice.index},
                 {"text", unsaid ? whole_text(prompts[choice.prompt].text) : ""},
                 {"logprobs", unsaid && settings.log_probs ? log_probs.json() : Json()},
                 {"finish_reason", choice.finish}};
    sign(last, choice);
    send(std::move(last));
  }

  void on_all_ended() override {
    const auto self = std::static_pointer_cast<CompletionJob>(shared_from_this());
    if (!settings.stream) return reply->later([self] { self->answer(); });
    if (const auto error = failure()) reply->piece("data: " + error_json(*error) + "\n\n");
    if (settings.stream_usage) {
      Json last = frame(Json::array());
      last["usage"] = usage();
      event(last);
    }
    reply->piece("data: [DONE]\n\n");
    reply->end();
  }

 private:
  Json frame(Json of_choices) const {
    return {{"id", name_},
            {"object", "text_completion"},
            {"created", created},
            {"model", parts.model.name()},
            {"system_fingerprint", fingerprint()},
            {"choices", std::move(of_choices)}};
  }

  void send(Json one) {
    Json chunk = frame(Json::array({std::move(one)}));
    if (settings.stream_usage) chunk["usage"] = nullptr;
    event(chunk);
  }

  // Those of the prompt, where it is echoed.
  void add_prompt(CompletionLogProbs& log_probs, const Choice& choice) const {
    const ServedPrompt& prompt = prompts[choice.prompt];
    for (size_t i = 0; echo_ && i < choice.result.prompt.size(); ++i) {
      if (i == 0)
        log_probs.add_first(choice.result.prompt[0].id, prompt.n_unwritten == 0);
      else
        log_probs.add(choice.result.prompt[i], i >= prompt.n_unwritten);
    }
  }

  Json log_probs_of(const Choice& choice) const {
    if (!settings.log_probs) return nullptr;
    TextOffsets offsets;
    CompletionLogProbs log_probs(parts.model, offsets);
    add_prompt(log_probs, choice);
    for (const ScoredToken& token : choice.tokens) log_probs.add(token);
    return log_probs.json();
  }

  Json whole(const Choice& choice, int64_t index) const {
    const ServedPrompt& prompt = prompts[choice.prompt];
    Json one = {{"index", index},
                {"text", (echo_ ? whole_text(prompt.text) : "") + choice.text},
                {"logprobs", log_probs_of(choice)},
                {"finish_reason", choice.finish}};
    sign(one, choice);
    if (!settings.return_token_ids) return one;
    one["token_ids"] = Json::array();
    for (const ScoredToken& token : choice.tokens) one["token_ids"].push_back(token.id);
    one["prompt_token_ids"] = prompt.ids;
    return one;
  }

  // Of each prompt's answers the n best by the mean log-probability of their tokens, in the order they were drawn in.
  std::vector<size_t> kept() const {
    std::vector<size_t> all;
    const auto mean = [this](size_t at) {
      double sum = 0;
      for (const ScoredToken& token : choices[at].tokens) sum += token.log_prob;
      return choices[at].tokens.empty() ? 0 : sum / double(choices[at].tokens.size());
    };
    for (size_t begin = 0; begin < choices.size(); begin += size_t(best_of_)) {
      std::vector<size_t> some(static_cast<size_t>(best_of_));
      for (size_t i = 0; i < some.size(); ++i) some[i] = begin + i;
      std::stable_sort(some.begin(), some.end(), [&](size_t a, size_t b) { return mean(a) > mean(b); });
      std::sort(some.begin(), some.begin() + settings.n);
      all.insert(all.end(), some.begin(), some.begin() + settings.n);
    }
    return all;
  }

  void answer() {
    if (const auto error = failure()) return reply->answer(error_answer(*error));
    Json list = Json::array();
    for (const size_t at : kept()) list.push_back(whole(choices[at], int64_t(list.size())));
    Json json = frame(std::move(list));
    json["usage"] = usage();
    reply->answer({.body = text_of_json(json) + "\n"});
  }

  const bool echo_;
  const int64_t best_of_;
  const std::string name_;
  std::vector<TextOffsets> offsets_;  // of streams
};

}  // namespace

void start_completion(const ServingParts& parts, const Json& json, std::shared_ptr<HttpReply> reply) {
  std::make_shared<CompletionJob>(parts, std::move(reply), read_request(json, parts))->run();
}

std::string random_name(const char* prefix) {
  std::random_device device;
  return fmt::format("{}{:08x}{:08x}{:08x}", prefix, device(), device(), device());
}

}  // namespace hadal
