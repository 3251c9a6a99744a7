// The verbs of `hadal eval` beside evaluating itself.
#pragma once
#include "apps/cli.h"

namespace hadal {

void add_eval_generate(Verb eval, Cli& cli);  // problems as training data

}  // namespace hadal
