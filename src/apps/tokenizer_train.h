// The verb `train` of `hadal tokenizer`.
#pragma once
#include "apps/cli.h"

namespace hadal {

void add_tokenizer_train(Verb verb, Cli& cli);

}  // namespace hadal
