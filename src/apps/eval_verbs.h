// The verbs of `hadal eval` beside evaluating itself.
#pragma once
#include "apps/cli.h"

namespace hadal {

void add_eval_generate(Verb eval, Cli& cli);  // problems and needles as training data
void add_eval_compare(Verb eval, Cli& cli);   // two evaluations of the same items

}  // namespace hadal
