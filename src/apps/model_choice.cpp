#include "apps/model_choice.h"

namespace hadal {

TextModel ModelChoice::open(const Exec& exec, bool quiet) const {
  TextModel loaded = load_text_model(directory, load, exec);
  print_notes(loaded.model.source.notices(), quiet);
  return loaded;
}

void add_model_options(Verb verb, ModelChoice& choice, const ModelChoiceOptions& offered) {
  Option model =
      verb.add_option("--model", choice.directory, "a run directory, an exported model or a Hugging Face directory");
  if (offered.required) model.required();
  if (offered.precision) add_precision_option(verb, choice.load.precision);
  if (offered.ema) verb.add_flag("--ema", choice.load.ema, "the moving average of the weights");
  if (offered.formats) {
    add_weights_option(verb, choice.load.weights);
    add_cache_option(verb, choice.load.cache);
    choice.load.unrecorded_form = AttentionForm::absorbed;
  }
  if (offered.attention_form) add_attention_form_option(verb, choice.load.attention_form);
}

void add_place_options(Verb verb, CommonOptions& options) {
  add_threads_option(verb, options);
  add_quiet_option(verb, options);
  add_isa_option(verb, options);
  add_device_option(verb, options);
}

}  // namespace hadal
