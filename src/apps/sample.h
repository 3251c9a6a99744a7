// What train and demo share: the sample that is printed on the way, and clearing a run directory.
#pragma once
#include <filesystem>
#include <functional>
#include <string>

#include "model/transformer.h"
#include "text/tokenizer.h"

namespace hadal {

// TrainHooks::sample: a text at temperature 0.8, top-p 0.95, from the start of a document (BOS if documents of the run
// begin so) with this prompt.
std::function<std::string(Transformer&, const Tokenizer&, const std::string& prompt, int64_t tokens, uint64_t seed)>
sampler_of(bool bos);

// Deletes what a run wrote, and only in a directory that a trainer locked and whose config.toml, if any, is ours (or
// that is empty, or absent). Throws invalid elsewhere: other programs have a config.toml and a data/ too.
void remove_run(const std::filesystem::path& run);

}  // namespace hadal
