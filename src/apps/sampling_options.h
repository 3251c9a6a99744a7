// How `hadal generate` draws and when it ends: options of the command line, and where the user said nothing, what the
// makers of a Hugging Face directory ask for.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "apps/cli.h"
#include "dialogue/prompt.h"
#include "dialogue/text_model.h"

namespace hadal {

struct DrawOptions {
  SamplingOptions sampling;
  int64_t max_tokens = 200;
  std::vector<std::string> stop_strings;
  // Whether the user said it.
  bool given_max_tokens = false, given_temperature = false, given_top_k = false, given_top_p = false,
       given_min_p = false, given_repetition_penalty = false, given_presence_penalty = false,
       given_frequency_penalty = false, given_stop = false, given_seed = false;
};

// The options must live until the verb has run. What is returned notes which of them were given; call it after parsing.
std::function<void()> add_draw_options(Verb verb, const std::shared_ptr<DrawOptions>& options);

// --drafts, as EngineOptions::drafts; the value that it has is the default.
void add_drafts_option(Verb verb, int64_t& drafts);

// What a request says counts where the command line does not say it; names what cannot be followed, unless quiet.
void follow_request(DrawOptions& options, const RequestSettings& request, bool quiet);

// Completes them from generation_config.json, and unless quiet says on standard error what is followed and what is not;
// without a seed draws one, from the prompt. Throws invalid for values out of range.
void complete_draw_options(DrawOptions& options, const TextModel& model, std::span<const int32_t> prompt, bool quiet);

}  // namespace hadal
