#include "server/settings.h"

#include <charconv>
#include <random>

#include "base/random.h"
#include "server/api_error.h"

namespace hadal {
namespace {

constexpr int64_t kMostStops = 64, kMostStopBytes = 1024;
constexpr const char* kLabels[] = {"user",         "safety_identifier", "request_id",
                                   "service_tier", "prompt_cache_key",  "prompt_cache_retention"};

void read_bias(const JsonFields& fields, int64_t vocabulary, SamplingOptions& sampling) {
  const Json* bias = fields.find("logit_bias");
  if (bias == nullptr) return;
  if (!bias->is_object())
    refuse("logit_bias", "logit_bias = {} must be an object of token ids and numbers", shown(*bias));
  for (const auto& [name, value] : bias->items()) {
    int64_t id = -1;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
    if (error != std::errc() || end != name.data() + name.size() || id < 0 || id >= vocabulary)
      refuse("logit_bias", "logit_bias: '{}' must be a token id from 0 to {}", name.substr(0, 60), vocabulary - 1);
    const double number = value.is_number() ? value.get<double>() : std::nan("");
    if (!(number >= -100 && number <= 100))
      refuse("logit_bias", "logit_bias of token {} = {} must be a number from -100 to 100", id, shown(value));
    if (number <= -100)
      sampling.suppressed.push_back(int32_t(id));
    else
      sampling.logit_bias.emplace_back(int32_t(id), number);
  }
}

void read_sampling(const JsonFields& fields, const SettingsLimits& limits, SamplingOptions& s) {
  const auto take = [](auto given, auto& value) {
    if (given) value = *given;
  };
  take(fields.number("temperature", 0, 100), s.temperature);
  take(fields.number("top_p", 0, 1, false), s.top_p);
  take(fields.number("min_p", 0, 1), s.min_p);
  if (const auto k = fields.integer("top_k", -1, INT32_MAX)) s.top_k = std::max<int64_t>(*k, 0);
  take(fields.number("repetition_penalty", 0.01, 100), s.repetition_penalty);
  take(fields.number("presence_penalty", -2, 2), s.presence_penalty);
  take(fields.number("frequency_penalty", -2, 2), s.frequency_penalty);
  read_bias(fields, limits.vocabulary, s);
  const auto seed = fields.seed("seed");
  std::random_device device;
  s.seed = seed ? *seed : uint64_t(device()) << 32 | device();
}

void check_without_effect(const JsonFields& fields) {
  for (const char* label : kLabels) fields.text(label);
  fields.boolean("spaces_between_special_tokens");
  if (const Json* labels = fields.find("metadata"); labels != nullptr && !labels->is_object())
    refuse("metadata", "metadata = {} must be an object", shown(*labels));
}

// What would change what is kept, what is written, or who comes first.
void refuse_not_offered(const JsonFields& fields) {
  if (fields.boolean("store")) refuse("store", "store = true is not offered: this server stores nothing");
  if (fields.find("verbosity") != nullptr)
    refuse("verbosity", "verbosity is not offered; say in a message how long the answer shall be");
  if (const int64_t priority = fields.integer("priority", INT32_MIN, INT32_MAX).value_or(0); priority != 0)
    refuse("priority", "priority = {} is not offered; 0 is: requests come in their order", priority);
}

void follow_makers(const GenerationConfig& makers, AnswerSettings& settings) {
  SamplingOptions& s = settings.sampling;
  s.temperature = makers.sampling_temperature(s.temperature);
  s.top_p = makers.top_p.value_or(s.top_p);
  s.min_p = makers.min_p.value_or(s.min_p);
  s.top_k = makers.top_k.value_or(s.top_k);
  s.repetition_penalty = makers.repetition_penalty.value_or(s.repetition_penalty);
  s.suppressed = makers.suppressed_ids;
  settings.stop = makers.stop_strings;
}

}  // namespace

AnswerSettings read_settings(const JsonFields& fields, const SettingsLimits& limits,
                             const std::optional<GenerationConfig>& makers) {
  AnswerSettings settings;
  if (makers) follow_makers(*makers, settings);
  refuse_not_offered(fields);
  check_without_effect(fields);
  read_sampling(fields, limits, settings.sampling);
  settings.n = fields.integer("n", 1, kMostChoices).value_or(1);
  settings.max_tokens = fields.integer("max_tokens", limits.least_max_tokens, limits.positions);
  settings.min_tokens = fields.integer("min_tokens", 0, limits.positions).value_or(0);
  if (fields.find("stop") != nullptr) settings.stop = fields.texts("stop", kMostStops, kMostStopBytes);
  if (const Json* ids = fields.find("stop_token_ids"))
    settings.stop_ids = token_ids(*ids, "stop_token_ids", limits.vocabulary);
  if (settings.stop_ids.size() > size_t(kMostStops))
    refuse("stop_token_ids", "stop_token_ids has {} ids; at most {} are taken", settings.stop_ids.size(), kMostStops);
  settings.ignore_eos = fields.boolean("ignore_eos");
  settings.skip_special = fields.boolean("skip_special_tokens");
  settings.return_token_ids = fields.boolean("return_token_ids");
  settings.receipt = fields.boolean("receipt");
  settings.stream = fields.boolean("stream");
  if (const Json* options = fields.find("stream_options")) {
    if (!settings.stream) refuse("stream_options", "stream_options belongs to \"stream\": true");
    if (!options->is_object()) refuse("stream_options", "stream_options = {} must be an object", shown(*options));
    const JsonFields inner(*options);
    inner.check_names({{"include_usage", "include_obfuscation", "continuous_usage_stats"}});
    settings.stream_usage = inner.boolean("include_usage");
    inner.boolean("include_obfuscation");  // changes no text
    if (inner.boolean("continuous_usage_stats"))
      refuse("stream_options", "stream_options.continuous_usage_stats is not offered; include_usage is, at the end");
  }
  return settings;
}

const std::vector<std::string>& setting_names() {
  static const std::vector<std::string> names = {"model",
                                                 "temperature",
                                                 "top_p",
                                                 "min_p",
                                                 "top_k",
                                                 "seed",
                                                 "logit_bias",
                                                 "n",
                                                 "max_tokens",
                                                 "min_tokens",
                                                 "stop",
                                                 "stop_token_ids",
                                                 "ignore_eos",
                                                 "stream",
                                                 "repetition_penalty",
                                                 "presence_penalty",
                                                 "frequency_penalty",
                                                 "stream_options",
                                                 "return_token_ids",
                                                 "receipt",
                                                 "skip_special_tokens",
                                                 "store",
                                                 "verbosity",
                                                 "priority"};
  return names;
}

const std::vector<std::string>& names_without_effect() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all(std::begin(kLabels), std::end(kLabels));
    all.insert(all.end(), {"metadata", "spaces_between_special_tokens"});
    return all;
  }();
  return names;
}

uint64_t seed_of_choice(uint64_t seed, int64_t choice) {
  return choice == 0 ? seed : random_bits(seed, stream_id("server.choice"), uint64_t(choice));
}

}  // namespace hadal
