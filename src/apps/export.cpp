// hadal export: a model's directory written anew for others: Hugging Face safetensors or GGUF, in another number type
// if asked, tensor by tensor in bounded memory.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/model_choice.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/text_format.h"
#include "dialogue/text_model.h"
#include "exchange/exporter.h"
#include "exchange/gguf_vocabulary.h"
#include "text/bos_files.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

struct ExportOptions {
  ModelChoice model;
  std::string to, dtype = "bf16", output;
  uint64_t shard_bytes = kShardBytes;
  CommonOptions common;
};

// Files beside the weights that go along as they are, where they stand.
constexpr const char* kCompanions[] = {
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "vocab.json",
    "merges.txt",     "added_tokens.json",     "tokenizer.model",         "tiktoken.model"};

void set_special_ids(HfConfig& config, const Tokenizer& tokenizer) {
  if (const auto id = tokenizer.bos_id()) config.bos_ids = {*id};
  if (const auto id = tokenizer.eos_id()) config.eos_ids = {*id};
  if (const auto id = tokenizer.pad_id()) config.pad_id = *id;
}

std::string generation_config(const HfConfig& config) {
  nlohmann::ordered_json json = {{"_from_model_config", true}};
  const auto put = [&](const char* key, const std::vector<int64_t>& ids) {
    if (ids.size() == 1) json[key] = ids[0];
    if (ids.size() > 1) json[key] = ids;
  };
  put("bos_token_id", config.bos_ids);
  put("eos_token_id", config.eos_ids);
  if (config.pad_id >= 0) json["pad_token_id"] = config.pad_id;
  return json_text(json, {.indent = 2}) + "\n";
}

// transformers reads tiktoken.model by Python code that comes with it.
void add_tokenizer_code(const fs::path& directory, std::vector<std::pair<std::string, std::string>>& texts,
                        std::vector<std::string>& notices) {
  if (fs::exists(directory / "tokenizer.json") || !fs::exists(directory / "tiktoken.model")) return;
  bool found = false;
  for (const auto& item : fs::directory_iterator(directory)) {
    const std::string name = item.path().filename().string();
    if (item.path().extension() != ".py" || name.starts_with("modeling_") || name.starts_with("configuration_"))
      continue;
    texts.emplace_back(name, read_file(item.path()));
    found = found || name.starts_with("tokenization_");
  }
  if (!found)
    notices.push_back(
        "transformers reads tiktoken.model by the Python file tokenization_*.py that Moonlight and Kimi-K2 come with; "
        "it is not in the directory, so that only the weights will load there");
}

// A run with data.add_bos learnt that BOS begins a text, which its tokenizer's files do not say.
bool learnt_bos(const ModelDirectory& from) { return !from.hugging_face && trained_with_bos(from.directory.string()); }

void put_bos(const Tokenizer& tokenizer, std::vector<std::pair<std::string, std::string>>& texts) {
  if (tokenizer.adds_bos()) return;
  const int32_t id = start_token(tokenizer, true);
  for (auto& [name, text] : texts) {
    if (name == "tokenizer.json") text = tokenizer_json_with_bos(text, std::string(tokenizer.token_bytes(id)), id);
    if (name == "tokenizer_config.json") text = tokenizer_config_with_bos(text);
  }
}

// The texts go before those of the plan: config.json stays the last file of a whole directory.
void add_companions(const ModelDirectory& from, ExportPlan& plan) {
  std::vector<std::pair<std::string, std::string>> texts;
  for (const char* name : kCompanions)
    if (fs::exists(from.directory / name)) texts.emplace_back(name, read_file(from.directory / name));
  if (learnt_bos(from) && Tokenizer::is_in(from.directory.string()))
    put_bos(Tokenizer::load(from.directory.string()), texts);
  add_tokenizer_code(from.directory, texts, plan.notices);
  const size_t own = texts.size();
  const auto chats = from.directory / "additional_chat_templates";
  if (fs::is_directory(chats))
    for (const auto& entry : fs::directory_iterator(chats))
      if (entry.is_regular_file() && entry.path().extension() == ".jinja")
        texts.emplace_back(chats.filename() / entry.path().filename(), read_file(entry.path()));
  std::sort(texts.begin() + int64_t(own), texts.end());
  const auto generation = from.directory / "generation_config.json";
  texts.emplace_back("generation_config.json",
                     fs::exists(generation) ? read_file(generation) : generation_config(from.config));
  plan.texts.insert(plan.texts.begin(), texts.begin(), texts.end());
}

std::string model_name(const ExportOptions& o) {
  fs::path path = fs::path(o.model.directory).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // "runs/demo/"
  return path.filename().string();
}

ExportPlan make_plan(const ExportOptions& o, const ModelDirectory& from, const ExportSource& source) {
  const ExportRequest request{o.dtype, o.shard_bytes};
  if (o.to == "hf") {
    ExportPlan plan = plan_hf(source, request);
    add_companions(from, plan);
    return plan;
  }
  if (!Tokenizer::is_in(from.directory.string())) {
    ExportPlan plan = plan_gguf(source, request, nullptr, model_name(o));
    plan.notices.push_back("neither tokenizer.json nor tiktoken.model: the file takes token ids only");
    return plan;
  }
  std::vector<std::string> notices;
  const Tokenizer tokenizer = Tokenizer::load(from.directory.string());
  GgufVocabulary vocabulary = gguf_vocabulary(tokenizer, from.directory, notices);
  vocabulary.add_bos |= learnt_bos(from) && !tokenizer.adds_bos();
  ExportPlan plan = plan_gguf(source, request, &vocabulary, model_name(o));
  plan.notices.insert(plan.notices.end(), notices.begin(), notices.end());
  return plan;
}

int run_export_verb(const ExportOptions& o) {
  check_export_dtype(o.to, o.dtype);
  ModelDirectory from = open_model(o.model.directory);
  if (o.model.load.ema) from = averages_of(from);
  if (!from.hugging_face && Tokenizer::is_in(from.directory.string()))
    set_special_ids(from.config, Tokenizer::load(from.directory.string()));
  const ExportSource source(from);
  const ExportPlan plan = make_plan(o, from, source);
  print_notes(plan.notices, o.common.quiet);
  auto exec = o.common.exec();
  const auto outcome = write_export(exec.exec, source, plan, {o.output, free_disk_bytes(o.output), o.common.quiet});
  fmt::print("{}: {} in {} file{}{}\n", o.output, format_bytes(double(plan.bytes())), plan.files.size(),
             plan.files.size() == 1 ? "" : "s",
             outcome.files_kept > 0 ? fmt::format(", {} of them from the run before", outcome.files_kept) : "");
  return kExitFine;
}

}  // namespace

void add_export(Verb root, Cli& cli) {
  auto o = std::make_shared<ExportOptions>();
  Verb verb = root.add_verb("export", "Write a model for others: Hugging Face transformers or llama.cpp");
  add_model_options(verb, o->model, {.precision = false, .ema = true});
  verb.add_option("--to", o->to, "hf: safetensors under the released names; gguf: architecture deepseek2")
      .required()
      .one_of({"hf", "gguf"});
  verb.add_option(
          "--dtype", o->dtype,
          "hf: bf16, f16, fp32 or fp8 (blocks of 128x128; router, norms, embedding and head stay BF16); gguf: bf16, "
          "f16, fp32, q8_0 or q4_0 (norms and router F32; with q4_0 the head is q8_0). Tensors that are stored in this "
          "type already keep every byte")
      .one_of({"bf16", "f16", "fp32", "fp8", "q8_0", "q4_0"})
      .show_default();
  verb.add_option("--output", o->output, "a new directory, or that of an interrupted export, which then continues")
      .required();
  verb.add_size("--shard-size", o->shard_bytes, "most bytes of tensors in one file, e.g. 5GB or 500MiB; 0: one file",
                "5GB");
  add_threads_option(verb, o->common);
  add_quiet_option(verb, o->common);
  verb.add_examples({"hadal export --model runs/shakespeare --to hf --output shakespeare-hf",
                     "hadal export --model runs/shakespeare --to gguf --dtype q8_0 --output shakespeare-gguf",
                     "hadal export --model runs/life:base --ema --to hf --output base-average-hf",
                     "hadal export --model DeepSeek-V3-bf16 --to hf --dtype fp8 --output DeepSeek-V3-fp8"});
  cli.on(verb, [o] { return run_export_verb(*o); });
}

}  // namespace hadal
