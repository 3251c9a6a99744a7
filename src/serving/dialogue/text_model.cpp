// Loading a model with its tokenizer; text in, text out.
#include "dialogue/text_model.h"

#include <algorithm>

#include "base/error.h"
#include "base/interrupt.h"
#include "config/config_io.h"
#include "dialogue/stop_strings.h"
#include "text/stream_decoder.h"

namespace hadal {

namespace {

std::vector<int32_t> stop_ids(const TextModel& loaded) {
  const auto& source = loaded.model.source;
  std::vector<int64_t> ids;
  if (source.hugging_face) {
    if (loaded.makers) ids.assign(loaded.makers->eos_ids.begin(), loaded.makers->eos_ids.end());
    if (ids.empty()) ids = source.config.eos_ids;
  }
  if (ids.empty() && loaded.tokenizer && loaded.tokenizer->eos_id()) ids = {*loaded.tokenizer->eos_id()};
  std::vector<int32_t> stop;
  for (int64_t id : ids)
    if (id < source.config.model.vocab_size) stop.push_back(int32_t(id));  // others cannot come
  return stop;
}

}  // namespace

const Tokenizer& TextModel::text() const {
  check(tokenizer.has_value(), ErrorKind::not_found,
        "{}: neither tokenizer.json nor tiktoken.model; give token ids instead of text", model.directory.string());
  return *tokenizer;
}

TextModel load_text_model(const std::string& directory, const LoadOptions& options, const Exec& exec) {
  TextModel loaded{load_model(directory, options, exec), std::nullopt, std::nullopt, {}};
  if (loaded.model.source.hugging_face) loaded.makers = load_generation_config(loaded.model.directory.string());
  if (Tokenizer::is_in(loaded.model.directory.string()))
    loaded.tokenizer = Tokenizer::load(loaded.model.directory.string());
  if (loaded.tokenizer) {
    const int64_t rows = loaded.model.transformer->config().vocab_size;
    check(loaded.tokenizer->rows_needed() <= rows, ErrorKind::invalid,
          "{}: the tokenizer has {} ids, the model only {}: they do not belong together", directory,
          loaded.tokenizer->rows_needed(), rows);
  }
  loaded.stop = stop_ids(loaded);
  return loaded;
}

std::vector<int32_t> text_start(const TextModel& loaded, const std::string& bos) {
  if (bos == "off") return {};
  if (bos == "on") return {start_token(loaded.text(), true)};
  const std::string directory = loaded.model.directory.string();
  if (!loaded.model.source.hugging_face) return {start_token(loaded.text(), trained_with_bos(directory))};
  if (!loaded.text().adds_bos()) return {};
  return {start_token(loaded.text(), true)};
}

int32_t start_token(const Tokenizer& tokenizer, bool bos) {
  const auto id = bos ? tokenizer.bos_id() : tokenizer.eos_id();
  check(id.has_value(), ErrorKind::invalid, "the tokenizer has no {} token", bos ? "BOS" : "EOS");
  return *id;
}

bool trained_with_bos(const std::string& model_directory) {
  const auto path = std::filesystem::path(model_directory) / "config.toml";
  return std::filesystem::exists(path) && load_config(path.string()).data.add_bos;
}

GeneratedText generate_text(Engine& engine, const Tokenizer& tokenizer, EngineRequest request,
                            const std::vector<std::string>& stop_strings,
                            const std::function<void(const std::string&)>& print) {
  if (const auto eos = tokenizer.eos_id(); eos && request.stop.empty()) request.stop = {*eos};
  request.allowed_ids = tokenizer.vocab_size();
  const CleanStop polled("stopping after the current token");
  StreamDecoder decoder(tokenizer);
  StopStrings stops(stop_strings);
  GeneratedText result;
  auto give = [&](const std::string& fragment) {
    if (print && !fragment.empty()) print(fragment);
    result.text += fragment;
  };
  request.on_token = [&, ends = request.stop](const ScoredToken& token) {
    const bool stop = std::find(ends.begin(), ends.end(), token.id) != ends.end();
    if (!stop) give(stops.push(decoder.push(token.id)));
    return !interrupted() && !stops.found();
  };
  const GenerateResult generated = generate(engine, std::move(request));
  give(stops.push(decoder.finish()));
  give(stops.finish());
  result.tokens = generated.tokens;
  result.stopped = generated.stopped || stops.found();
  return result;
}

}  // namespace hadal
