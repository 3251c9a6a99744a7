// The model that a verb works with: --model and how it is loaded, one piece for all verbs that read one.
#pragma once
#include <string>

#include "apps/cli.h"
#include "dialogue/text_model.h"

namespace hadal {

struct ModelChoice {
  std::string directory;
  LoadOptions load;

  // Loads it, and says on standard error, unless quiet, what a user should know of it.
  TextModel open(const Exec& exec, bool quiet) const;
};

// --model always; the others where the verb obeys them.
struct ModelChoiceOptions {
  bool precision = true, ema = false, attention_form = false;
  // Of weights and of the cache: of verbs that serve, or say what serving would. Where no form of attention is recorded
  // they take the absorbed one.
  bool formats = false;
  bool required = true;  // false: a verb of this one may go without, and the verb itself asks for it
};
void add_model_options(Verb verb, ModelChoice& choice, const ModelChoiceOptions& offered = {});

// --threads, --quiet, --isa, --device
void add_place_options(Verb verb, CommonOptions& options);

}  // namespace hadal
