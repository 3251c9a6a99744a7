#include "apps/sampling_options.h"

#include <fmt/ranges.h>

#include <string_view>

#include "base/error.h"
#include "base/hash.h"
#include "dialogue/stop_strings.h"
#include "engine/engine_room.h"

namespace hadal {

namespace {

// What the makers ask for, one setting after the other; the user's word stands before theirs.
class Makers {
 public:
  template <class T>
  void follow(const char* name, bool given, const std::optional<T>& wanted, T& value) {
    if (wanted && given) overruled_.push_back(name);
    if (given || !wanted) return;
    value = *wanted;
    told_ += fmt::format("{} {}={}", told_.empty() ? "" : ",", name, value);
  }
  void tell(const std::string& text) { told_ += (told_.empty() ? " " : ", ") + text; }
  void overrule(const char* name) { overruled_.push_back(name); }
  // One sentence, or nothing.
  std::string told() const {
    std::string text = told_.empty() ? "" : "as generation_config.json says:" + told_;
    if (overruled_.empty()) return text;
    text += text.empty() ? "" : "; ";
    return text +
           fmt::format("the command line stands before generation_config.json in {}", fmt::join(overruled_, ", "));
  }

 private:
  std::vector<std::string> overruled_;
  std::string told_;
};

// Of prompt and new tokens together.
void follow_length(DrawOptions& o, int64_t length, int64_t prompt_tokens, Makers& makers, bool quiet) {
  if (o.given_max_tokens) return makers.overrule("max_length");
  if (length <= prompt_tokens)
    return print_notes({fmt::format("max_length={} of generation_config.json is no more than the prompt's {} tokens "
                                    "and is not followed",
                                    length, prompt_tokens)},
                       quiet);
  o.max_tokens = length - prompt_tokens;
  makers.tell(fmt::format("max_length={} ({} new tokens)", length, o.max_tokens));
}

void ask_makers(DrawOptions& o, const TextModel& model, int64_t prompt_tokens, bool quiet) {
  if (!model.makers) return;
  const GenerationConfig& config = *model.makers;
  Makers makers;
  std::optional<double> temperature;
  if (config.temperature || config.do_sample)
    temperature = config.sampling_temperature(o.sampling.temperature);  // 0: greedy
  makers.follow("temperature", o.given_temperature, temperature, o.sampling.temperature);
  makers.follow("top_p", o.given_top_p, config.top_p, o.sampling.top_p);
  makers.follow("top_k", o.given_top_k, config.top_k, o.sampling.top_k);
  makers.follow("min_p", o.given_min_p, config.min_p, o.sampling.min_p);
  makers.follow("repetition_penalty", o.given_repetition_penalty, config.repetition_penalty,
                o.sampling.repetition_penalty);
  makers.follow("max_new_tokens", o.given_max_tokens, config.max_new_tokens, o.max_tokens);
  if (!config.max_new_tokens && config.max_length) follow_length(o, *config.max_length, prompt_tokens, makers, quiet);
  if (!config.stop_strings.empty() && o.given_stop) makers.overrule("stop_strings");
  if (!config.stop_strings.empty() && !o.given_stop) {
    o.stop_strings = config.stop_strings;
    makers.tell(fmt::format("{} stop_strings", config.stop_strings.size()));
  }
  if (!config.suppressed_ids.empty()) {
    o.sampling.suppressed = config.suppressed_ids;
    makers.tell(fmt::format("{} suppress_tokens", config.suppressed_ids.size()));
  }
  if (!makers.told().empty()) print_notes({makers.told()}, quiet);
  if (!config.unused.empty())
    print_notes({fmt::format("generation_config.json also asks for {}, which Hadal does not follow",
                             fmt::join(config.unused, ", "))},
                quiet);
}

}  // namespace

std::function<void()> add_draw_options(Verb verb, const std::shared_ptr<DrawOptions>& o) {
  const Option limit = verb.add_option("--max-tokens", o->max_tokens, "new tokens at the most")
                           .within(int64_t(0), int64_t(1) << 40)
                           .show_default();
  SamplingOptions& s = o->sampling;
  const Option temperature =
      verb.add_option("--temperature", s.temperature, "0 takes the most likely token").show_default();
  const Option top_k = verb.add_option("--top-k", s.top_k, "draw among the k most likely; 0 = all").show_default();
  const Option top_p =
      verb.add_option("--top-p", s.top_p, "draw among the most likely with this much probability").show_default();
  const Option min_p =
      verb.add_option("--min-p", s.min_p, "drop tokens below this share of the most likely one").show_default();
  const Option repetition = verb.add_option("--repetition-penalty", s.repetition_penalty,
                                            "makes tokens of prompt and text less likely; 1 = off")
                                .show_default();
  const Option presence = verb.add_option("--presence-penalty", s.presence_penalty,
                                          "taken from the logit of a token that the text has; 0 = off")
                              .show_default();
  const Option frequency = verb.add_option("--frequency-penalty", s.frequency_penalty,
                                           "the same for every time that the text has it; 0 = off")
                               .show_default();
  const Option stop = verb.add_texts("--stop", o->stop_strings, "end the text before this string (repeatable)");
  const Option seed =
      verb.add_option("--seed", s.seed, "the same seed writes the same text; drawn from the prompt if not given")
          .not_negative();
  return [=] {
    o->given_max_tokens = limit.given(), o->given_temperature = temperature.given(), o->given_top_k = top_k.given();
    o->given_top_p = top_p.given(), o->given_min_p = min_p.given(), o->given_stop = stop.given();
    o->given_repetition_penalty = repetition.given(), o->given_seed = seed.given();
    o->given_presence_penalty = presence.given(), o->given_frequency_penalty = frequency.given();
  };
}

void add_drafts_option(Verb verb, int64_t& drafts) {
  const bool automatic = drafts == EngineOptions::kAutomatic;
  std::vector<std::string> words = {"auto"};
  for (int64_t n = 0; n <= kMostDrafts; ++n) words.push_back(std::to_string(n));
  const auto take = [&drafts](const std::string& text) {
    drafts = text == "auto" ? EngineOptions::kAutomatic : std::stoll(text);
  };
  verb.add_word("--drafts", take,
                fmt::format("tokens that the model's MTP modules guess ahead: 0 to {}, or auto: as many as are "
                            "fastest; a text is the same with any; default: {}",
                            kMostDrafts, automatic ? "auto" : "0"))
      .one_of(words);
}

void follow_request(DrawOptions& o, const RequestSettings& request, bool quiet) {
  const auto take = [](bool& given, auto& value, const auto& requested) {
    if (given || !requested) return;
    value = *requested;
    given = true;
  };
  SamplingOptions& s = o.sampling;
  take(o.given_temperature, s.temperature, request.temperature), take(o.given_top_p, s.top_p, request.top_p);
  take(o.given_top_k, s.top_k, request.top_k), take(o.given_min_p, s.min_p, request.min_p);
  take(o.given_repetition_penalty, s.repetition_penalty, request.repetition_penalty);
  take(o.given_presence_penalty, s.presence_penalty, request.presence_penalty);
  take(o.given_frequency_penalty, s.frequency_penalty, request.frequency_penalty);
  take(o.given_seed, s.seed, request.seed), take(o.given_max_tokens, o.max_tokens, request.max_tokens);
  take(o.given_stop, o.stop_strings, request.stop);
  if (!request.unused.empty())
    print_notes(
        {fmt::format("keys of the request in --chat that are not followed: {}", fmt::join(request.unused, ", "))},
        quiet);
}

void complete_draw_options(DrawOptions& options, const TextModel& model, std::span<const int32_t> prompt, bool quiet) {
  ask_makers(options, model, int64_t(prompt.size()), quiet);
  if (!options.given_seed) {  // one that differs from prompt to prompt, and is the same again tomorrow
    const std::string_view bytes(reinterpret_cast<const char*>(prompt.data()), prompt.size() * sizeof(prompt[0]));
    options.sampling.seed = hash64(bytes) >> 32;
  }
  validate(options.sampling);
  const StopStrings refuses_empty_ones(options.stop_strings);
}

}  // namespace hadal
