// The sample of text that a training run prints on its way.
#pragma once
#include <functional>
#include <string>

#include "model/transformer.h"
#include "text/tokenizer.h"

namespace hadal {

// TrainHooks::sample: a text at temperature 0.8, top-p 0.95, from the start of a document (BOS if documents of the run
// begin so) with this prompt; or, of a run that learns dialogues, the answer to it, through the tokenizer's own chat
// template.
std::function<std::string(const Exec&, const Transformer&, const Tokenizer&, const std::string& prompt, int64_t tokens,
                          uint64_t seed)>
sampler_of(bool bos, bool answers = false);

}  // namespace hadal
