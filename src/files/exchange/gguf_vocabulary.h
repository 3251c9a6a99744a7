// The tables of a tokenizer as GGUF wants them, and what in it GGUF's readers would do otherwise.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "exchange/export_plan.h"
#include "text/tokenizer.h"

namespace hadal {

// `directory` is the tokenizer's: its chat template goes along. Adds a sentence to `notices` for what gets
// lost. Throws unsupported for a vocabulary that the format cannot carry.
GgufVocabulary gguf_vocabulary(const Tokenizer& tokenizer, const std::filesystem::path& directory,
                               std::vector<std::string>& notices);

}  // namespace hadal
