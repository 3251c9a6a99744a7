// See recipe.h. What is off does not stand there, so that builds of older programs stay what they are.
#include "data/recipe.h"

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "data/corpus.h"
#include "data/quality_rules.h"

namespace hadal::data {
namespace {

using RecipeJson = nlohmann::ordered_json;

void add_near_duplicates(RecipeJson& json, const DataConfig& data) {
  const NearDuplicatesConfig& near = data.near_duplicates;
  if (near.across == Across::off) return;
  json["near_duplicates"] = {{"across", enum_name(near.across)},
                             {"threshold", near.threshold},
                             {"buckets", near.buckets},
                             {"hashes", near.hashes},
                             {"ngram", near.ngram},
                             {"fold_numbers", near.fold_numbers}};
  for (const SourceConfig& source : data.sources)
    json["near_duplicates"]["sources"].push_back({source.near_duplicates, source.keep_numbers});
}

void add_decontaminate(RecipeJson& json, const DecontaminateConfig& config) {
  if (config.files.empty()) return;
  json["decontaminate"] = {{"fields", config.fields},
                           {"ngram", config.ngram},
                           {"min_words", config.min_words},
                           {"fold_numbers", config.fold_numbers}};
  if (config.common_above > 0) json["decontaminate"]["common_above"] = config.common_above;
}

}  // namespace

std::string shard_recipe(const Config& config, int64_t unit_bytes) {
  const DataConfig& data = config.data;
  RecipeJson json{{"format", 1}, {"holdout", enum_name(data.holdout)}, {"holdout_fraction", data.holdout_fraction}};
  for (size_t s = 0; s < data.sources.size(); ++s) {
    const SourceConfig& source = data.sources[s];
    json["sources"].push_back({{"name", source_name(data, s)}, {"text_field", source.text_field}});
    if (!source.rules.empty()) json["sources"].back()["rules"] = parse_json<RecipeJson>(rules_recipe(source), "rules");
    if (source.format == SourceFormat::text) continue;
    json["sources"].back()["format"] = enum_name(source.format);
    json["sources"].back()["train_on"] = enum_name(source.train_on);
    json["add_bos"] = data.add_bos;
  }
  add_near_duplicates(json, data), add_decontaminate(json, data.decontaminate);
  json["filters"] = RecipeJson::array();  // as it always stood there
  if (config.tokenizer.path.empty())
    json["tokenizer"] = {{"vocab_size", config.tokenizer.vocab_size},
                         {"training_bytes", config.tokenizer.training_bytes}};
  json["unit_bytes"] = unit_bytes;
  return json_text(json, {.lossy = true});
}

}  // namespace hadal::data
