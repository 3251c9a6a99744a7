#include "server/receipt.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "base/isa.h"
#include "base/json.h"
#include "model/latent_cache.h"

namespace hadal {

Receipt receipt_of(const Exec& exec, const Transformer& model, const std::string& name) {
  Receipt receipt;
  receipt.model = name;
  receipt.device = device_name(exec.device);
  receipt.isa = exec.device.kind == DeviceKind::cpu ? isa_name(exec.isa) : "";
  receipt.precision = enum_name(model.options().precision);
  receipt.weights = enum_name(model.options().weights);
  receipt.attention_form = enum_name(model.options().attention_form);
  receipt.cache = enum_name(model.options().cache);
  return receipt;
}

Json receipt_json(const Receipt& receipt) {
  const EngineRequest& asked = receipt.asked;
  const SamplingOptions& s = asked.sampling;
  Json tokens = Json::array(), log_probs = Json::array(), bias = Json::array();
  for (const ScoredToken& token : receipt.tokens) tokens.push_back(token.id), log_probs.push_back(token.log_prob);
  for (const auto& [id, by] : s.logit_bias) bias.push_back(Json::array({id, by}));
  return {{"receipt", 1},
          {"model", receipt.model},
          {"weights_version", receipt.weights_version},
          {"weights_identity", receipt.weights_identity},
          {"device", receipt.device},
          {"isa", receipt.isa},
          {"precision", receipt.precision},
          {"weights", receipt.weights},
          {"attention_form", receipt.attention_form},
          {"cache", receipt.cache},
          {"prompt", asked.prompt},
          {"allowed_ids", asked.allowed_ids},
          {"min_tokens", asked.min_tokens},
          {"stop", asked.stop},
          {"temperature", s.temperature},
          {"top_k", s.top_k},
          {"top_p", s.top_p},
          {"min_p", s.min_p},
          {"seed", s.seed},
          {"repetition_penalty", s.repetition_penalty},
          {"presence_penalty", s.presence_penalty},
          {"frequency_penalty", s.frequency_penalty},
          {"logit_bias", std::move(bias)},
          {"suppressed", s.suppressed},
          {"format", receipt.format},
          {"tokens", std::move(tokens)},
          {"log_probs", std::move(log_probs)}};
}

Receipt receipt_from_json(const std::string& text, const std::string& where) {
  Json json;
  try {
    json = parse_json<Json>(text, where);
  } catch (const Error&) {  // refused on the next line
  }
  check(json.is_object() && json.contains("receipt") && json["receipt"] == 1, ErrorKind::invalid,
        "{}: no receipt; it is the object that an answer to \"receipt\": true has", where);
  const auto member = [&]<class T>(const char* name, T& to) {
    try {
      to = json.at(name).get<T>();
    } catch (const Json::exception&) {
      fail(ErrorKind::invalid, "{}: \"{}\" is {}, not what a receipt has there", where, name,
           json.contains(name) ? json_text(json[name]).substr(0, 60) : "missing");
    }
  };
  Receipt receipt;
  EngineRequest& asked = receipt.asked;
  SamplingOptions& s = asked.sampling;
  std::vector<int32_t> tokens;
  std::vector<double> log_probs;
  member("model", receipt.model), member("weights_version", receipt.weights_version);
  member("device", receipt.device), member("isa", receipt.isa), member("precision", receipt.precision);
  member("weights", receipt.weights), member("attention_form", receipt.attention_form);
  member("prompt", asked.prompt), member("allowed_ids", asked.allowed_ids), member("min_tokens", asked.min_tokens);
  member("stop", asked.stop), member("temperature", s.temperature), member("top_k", s.top_k), member("top_p", s.top_p);
  member("min_p", s.min_p), member("seed", s.seed), member("repetition_penalty", s.repetition_penalty);
  member("presence_penalty", s.presence_penalty), member("frequency_penalty", s.frequency_penalty);
  member("logit_bias", s.logit_bias), member("suppressed", s.suppressed);
  member("tokens", tokens), member("log_probs", log_probs);
  if (json.contains("format")) member("format", receipt.format);  // others are from before there were any
  if (json.contains("cache")) member("cache", receipt.cache);
  if (json.contains("weights_identity")) member("weights_identity", receipt.weights_identity);
  check(tokens.size() == log_probs.size(), ErrorKind::invalid, "{}: {} tokens and {} log_probs", where, tokens.size(),
        log_probs.size());
  for (size_t i = 0; i < tokens.size(); ++i) receipt.tokens.push_back({tokens[i], log_probs[i], {}});
  return receipt;
}

std::string what_is_other(const Receipt& receipt, const Receipt& here) {
  std::vector<std::string> all;
  if (!receipt.weights_identity.empty() && here.weights_identity != receipt.weights_identity)
    all.push_back(fmt::format("the receipt is of other weights ({}; these are {}): another text is to be expected",
                              receipt.weights_identity, here.weights_identity));
  if (here.isa != receipt.isa || here.device != receipt.device)
    all.push_back(fmt::format("the receipt is of {} {}, this is {} {}: last bits may differ", receipt.device,
                              receipt.isa, here.device, here.isa));
  return fmt::format("{}", fmt::join(all, "; "));
}

Replayed replay(const Exec& exec, const Transformer& model, const Receipt& receipt) {
  check(receipt.format.empty() || receipt.asked.constraint, ErrorKind::internal,
        "the receipt's format has not been compiled");
  EngineRequest request = receipt.asked;
  request.max_tokens = int64_t(receipt.tokens.size());
  request.min_tokens = std::min(request.min_tokens, request.max_tokens);
  Replayed replayed;
  std::string error;
  request.on_token = [&](const ScoredToken& now) {
    const ScoredToken& then = receipt.tokens[size_t(replayed.same)];
    if (now.id != then.id)
      replayed.first = fmt::format("token {} is {}, it was {}", replayed.same, now.id, then.id);
    else if (now.log_prob != then.log_prob)
      replayed.first =
          fmt::format("the log-probability of token {} is {}, it was {}", replayed.same, now.log_prob, then.log_prob);
    else
      ++replayed.same;
    return replayed.first.empty();
  };
  request.on_end = [&](const EngineResult& result) { error = result.error; };
  Engine engine(exec, model, {.cache_blocks = cache_blocks_of(int64_t(request.prompt.size()) + request.max_tokens)});
  engine.submit(std::move(request));
  while (engine.step()) {
  }
  check(error.empty(), ErrorKind::corrupt, "{}", error);
  if (replayed.first.empty() && replayed.same < int64_t(receipt.tokens.size()))
    replayed.first = fmt::format("it ends after {} of {} tokens", replayed.same, receipt.tokens.size());
  return replayed;
}

}  // namespace hadal
