// A model together with its words: its tokenizer, what stands before a text and what ends one, and text generation on
// top of token ids.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "engine/generator.h"
#include "exchange/loaded_model.h"
#include "text/generation_config.h"
#include "text/tokenizer.h"

namespace hadal {

struct TextModel {
  LoadedModel model;
  std::optional<Tokenizer> tokenizer;      // absent in a directory without one: a model of ids
  std::optional<GenerationConfig> makers;  // generation_config.json of a Hugging Face directory
  std::vector<int32_t> stop;  // ids that end a text: of generation_config.json, else config.json, else the tokenizer's
  const Tokenizer& text() const;  // throws not_found without a tokenizer
};

// What a user should know of the directory is in model.source.notices().
TextModel load_text_model(const std::string& directory, const LoadOptions& options, const Exec& exec);

// What stands before a text. bos "on": BOS; "off": nothing; "auto": as the model was trained, for one of ours (BOS,
// else EOS), and for a Hugging Face directory as its tokenizer says (BOS or nothing).
std::vector<int32_t> text_start(const TextModel& loaded, const std::string& bos = "auto");

// The id that stands before a text's first token: BOS if the model was trained with it, else EOS (the end of the text
// before).
int32_t start_token(const Tokenizer& tokenizer, bool bos);
bool trained_with_bos(const std::string& model_directory);  // from config.toml beside the weights; false if unknown

struct GeneratedText {
  std::vector<int32_t> tokens;  // all that were drawn, a stop id or those of a stop string included
  std::string text;             // ends before either
  bool stopped = false;         // by an id or a string
};

// Generates and decodes; prints fragments of valid UTF-8 through `print` as they come, if given. Text ends before an id
// of request.stop (without any: EOS) and before the first of `stop_strings`.
GeneratedText generate_text(Engine& engine, const Tokenizer& tokenizer, EngineRequest request,
                            const std::vector<std::string>& stop_strings = {},
                            const std::function<void(const std::string&)>& print = {});

}  // namespace hadal
