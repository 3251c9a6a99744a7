// What train and demo share: the sample that is printed on the way, and clearing a run directory.
#pragma once
#include <filesystem>
#include <string>

#include "model/transformer.h"
#include "text/tokenizer.h"

namespace hadal {

// A text at temperature 0.8, top-p 0.95, from the start of a document with this prompt.
std::string training_sample(Transformer& model, const Tokenizer& tokenizer, const std::string& prompt, int64_t tokens, uint64_t seed);

// Deletes what a run wrote, and only in a directory that is a run (or empty, or absent). Throws invalid elsewhere.
void remove_run(const std::filesystem::path& run);

}  // namespace hadal
