// The verbs of `hadal precision`, a file each, and what they share: text as one batch of a model, and the page that is
// written.
#pragma once
#include <string>
#include <vector>

#include "apps/model_choice.h"
#include "model/transformer.h"

namespace hadal {

void add_precision_errors(Verb verb, Cli& cli);
void add_precision_ablate(Verb verb, Cli& cli);

// The first tokens of a text file, as the model reads a text: so many and one more, each the target of the one before.
MicroBatch batch_of_file(const TextModel& loaded, const std::string& text, int64_t n_tokens);
// Writes the page and says where it lies.
void write_page(const std::string& file, const std::string& page);

}  // namespace hadal
