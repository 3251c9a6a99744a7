// train_step_worker: our side of the training-step benchmark (train_step_bench.py drives it; rivals/train.py is the
// other side).
//   prepare CONFIG TEXT OUT STEPS   trains a tokenizer on TEXT; writes OUT/weights.safetensors (transformers' names),
//                                   OUT/config.json (transformers' format) and OUT/tokens.safetensors, tokens
//                                   [steps, batch, length + 1]
//   peak                            what this machine multiplies at best, per instruction set, GFLOP/s
//   run CONFIG DATA                 from those weights on those tokens: reads numbers of steps from standard input,
//                                   does them and answers each with one JSON line; behind "looked", with FP8's shadow
//                                   check in each of them, whose seconds it answers too
//   dispatch CONFIG                 bytes that a rank of two expert ranks sends the other for its tokens, in BF16 and
//                                   FP8: rows and gradients to experts, their weights and ids
// usage: train_step_worker MODE ... [--threads N] [--isa NAME] [--precision fp32|bf16|fp16|fp8|mxfp8] [--set KEY=VALUE]
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "arch/arch.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/system_info.h"
#include "bench/peak.h"
#include "checkpoint/checkpoint.h"
#include "config/config_io.h"
#include "nn/part_clock.h"
#include "proof/shadow_check.h"
#include "text/bpe_trainer.h"
#include "train/resources.h"
#include "train/step.h"
#include "train/traffic.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

void tell(const json& answer) { std::cout << json_text(answer) << std::endl; }

struct Arguments {
  std::vector<std::string> words, set;
  Precision precision = Precision::fp32;
  Isa isa = best_isa();
  int threads = 0;
};

Arguments parse(int argc, char** argv) {
  Arguments a;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.rfind("--", 0) != 0) {
      a.words.push_back(word);
      continue;
    }
    check(i + 1 < argc, ErrorKind::invalid, "{} needs a value", word);
    const std::string value = argv[++i];
    if (word == "--precision")
      a.precision = parse_enum<Precision>("--precision", value);
    else if (word == "--isa")
      a.isa = parse_isa(value);
    else if (word == "--threads")
      a.threads = std::stoi(value);
    else if (word == "--set")
      a.set.push_back(value);
    else
      fail(ErrorKind::invalid, "unknown option {}; there are --threads, --isa, --precision and --set", word);
  }
  return a;
}

json transformers_config(const ModelConfig& c) {
  return {{"architectures", {"DeepseekV3ForCausalLM"}},
          {"model_type", "deepseek_v3"},
          {"vocab_size", c.vocab_size},
          {"hidden_size", c.hidden_size},
          {"num_hidden_layers", c.n_layers},
          {"first_k_dense_replace", c.n_dense_layers},
          {"num_attention_heads", c.n_heads},
          {"num_key_value_heads", c.n_heads},
          {"q_lora_rank", c.q_lora_rank > 0 ? json(c.q_lora_rank) : json()},
          {"kv_lora_rank", c.kv_lora_rank},
          {"qk_nope_head_dim", c.qk_nope_head_dim},
          {"qk_rope_head_dim", c.qk_rope_head_dim},
          {"v_head_dim", c.v_head_dim},
          {"intermediate_size", c.dense_ffn_size},
          {"moe_intermediate_size", c.expert_ffn_size},
          {"n_routed_experts", c.n_routed_experts},
          {"n_shared_experts", c.n_shared_experts},
          {"num_experts_per_tok", c.n_experts_per_token},
          {"n_group", c.n_groups},
          {"topk_group", c.n_limited_groups},
          {"scoring_func", enum_name(c.score_function)},
          {"topk_method", "noaux_tc"},
          {"norm_topk_prob", c.normalize_top_k},
          {"routed_scaling_factor", c.routed_scale},
          {"rms_norm_eps", c.rms_eps},
          {"rope_theta", c.rope_theta},
          {"rope_scaling", nullptr},
          {"max_position_embeddings", c.max_positions},
          {"tie_word_embeddings", c.tie_embeddings},
          {"hidden_act", "silu"},
          {"num_nextn_predict_layers", 0}};
}

void prepare(const Arguments& a) {
  check(a.words.size() == 5, ErrorKind::invalid, "usage: train_step_worker prepare CONFIG TEXT OUT STEPS");
  OwnedExec owned(a.threads, a.isa);
  const Exec& exec = owned.exec;
  const Config config = load_config(a.words[1]);
  const std::string text = read_file(a.words[2]);
  const fs::path out = a.words[3];
  const int64_t steps = std::stoll(a.words[4]);
  make_directories(out);

  BpeOptions options;
  options.vocab_size = config.model.vocab_size;
  BpeTrainer trainer(options, exec.compute->pool());
  trainer.add_text(text);
  const Tokenizer tokenizer = trainer.train();
  check(tokenizer.vocab_size() <= config.model.vocab_size, ErrorKind::internal, "the tokenizer has {} ids",
        tokenizer.vocab_size());
  const int64_t length = config.data.sequence_length + 1, batch = config.train.batch_sequences,
                wanted = steps * batch * length;
  // Batches from all over the text: one slice of it for each sequence.
  std::vector<int32_t> tokens;
  const size_t sequences = size_t(steps * batch), slice = text.size() / sequences;
  for (size_t i = 0; i < sequences; ++i) {
    auto ids = tokenizer.encode(std::string_view(text).substr(i * slice, slice));
    check(int64_t(ids.size()) >= length, ErrorKind::invalid, "{}: {} bytes are too few for {} tokens", a.words[2],
          text.size(), wanted);
    tokens.insert(tokens.end(), ids.begin(), ids.begin() + length);
  }
  save_safetensors(out / "tokens.safetensors",
                   {{"tokens", Tensor::wrap(tokens.data(), DType::i32, {steps, batch, length})}});

  Transformer model(config.model, {}, exec);
  model.initialize(exec, config.train.seed);
  save_safetensors(out / "weights.safetensors", model_tensors(model.parameters()));
  atomic_write(out / "config.json", json_text(transformers_config(config.model), {.indent = 1}) + "\n");
  const auto flops = count_flops(config.model, config.data.sequence_length);
  const json answer = {
      {"parameters", count_parameters(config.model).total},
      {"flops_per_token", flops.training_causal()},
      {"batch", batch},
      {"length", length - 1},
      {"lr", config.optim.lr},
      {"vocabulary", tokenizer.vocab_size()},
      {"bytes_per_token", double(slice) / double(tokenizer.encode(std::string_view(text).substr(0, slice)).size())}};
  tell(answer);
}

void peak(const Arguments& a) {
  OwnedExec owned(a.threads, a.isa);
  json answer = {{"cpu", cpu_description()}, {"best", isa_name(best_isa())}, {"threads", owned.compute->n_threads()}};
  for (const Isa isa : available_isas()) {
    if (isa == Isa::reference) continue;
    answer["isas"][isa_name(isa)] = {{"fp32", bench::peak_gflops(owned.compute->pool(), isa, false, 0.5)},
                                     {"bf16", bench::peak_gflops(owned.compute->pool(), isa, true, 0.5)}};
  }
  tell(answer);
}

// Lets the peak start again from now, where the kernel permits it.
void reset_peak() {
  std::ofstream file("/proc/self/clear_refs");
  file << "5";
}

data::Batch batch_of(const Tensor& tokens, int64_t step) {
  data::Batch batch;
  const int64_t sequences = tokens.dim(1), length = tokens.dim(2) - 1;
  for (int64_t i = 0; i < sequences; ++i) {
    const int32_t* ids = tokens.data<int32_t>() + ((step % tokens.dim(0)) * sequences + i) * (length + 1);
    data::Sequence sequence;
    sequence.tokens.assign(ids, ids + length);
    sequence.targets.assign(ids + 1, ids + length + 1);
    data::Passage passage;
    passage.length = passage.n_tokens = length;
    sequence.passages.push_back(passage);
    batch.sequences.push_back(std::move(sequence));
  }
  return batch;
}

void run(const Arguments& a) {
  check(a.words.size() == 3, ErrorKind::invalid, "usage: train_step_worker run CONFIG DATA");
  OwnedExec owned(a.threads, a.isa);
  Config config = load_config(a.words[1]);
  config.train.precision = a.precision;
  apply_overrides(config, a.set);
  const fs::path data = a.words[2];
  const SafetensorsReader reader(data / "tokens.safetensors");
  const Tensor tokens = reader.tensor("tokens").clone(owned.exec);
  const uint64_t baseline = current_rss_bytes();
  reset_peak();

  resolve(config, config.model.vocab_size, owned.exec, memory_info().available);
  config.train.steps = 1 << 20;
  Transformer model(config.model, model_options(config, true), owned.exec);
  load_model_tensors(TensorFiles::open(data, "weights"), parameter_list(model.config()), model.parameters());
  model.refresh_values(owned.exec);
  Optimizer optimizer(model.parameters(), config.optim, owned.exec);
  std::optional<LossScaler> scaler;
  if (LossScaler::is_used(config)) scaler.emplace(config.loss_scale);
  PartClock clock;
  int64_t step = 0;
  const std::vector<int64_t> layers = layers_of_codes(model.parameters());
  for (std::string line; std::getline(std::cin, line);) {
    const int64_t n = std::stoll(line);
    const bool looked = line.ends_with(" looked");
    json rates = json::array(), losses = json::array(), looks = json::array(), parts = json::object();
    for (int64_t i = 0; i < n; ++i, ++step) {
      std::optional<ShadowCheck> check_of_layer;
      if (looked) check_of_layer.emplace(layers.at(size_t(i) % layers.size()));
      const double begin = steady_seconds();
      const auto batch = batch_of(tokens, step);
      const auto result = train_step(owned.exec, model, optimizer, config, batch, step + 1,
                                     {.scaler = scaler ? &*scaler : nullptr,
                                      .clock = &clock,
                                      .watch = check_of_layer ? &*check_of_layer : nullptr});
      check(result.skipped.empty() || result.overflowed, ErrorKind::internal, "step {}: {}", step + 1, result.skipped);
      rates.push_back(double(result.tokens) / (steady_seconds() - begin));
      losses.push_back(result.loss);
      if (looked) looks.push_back(check_of_layer->seconds());
    }
    for (const auto& [name, seconds] : clock.take()) parts[name] = seconds / double(std::max<int64_t>(n, 1));
    const uint64_t highest = peak_rss_bytes();
    tell(json{{"tokens_per_second", rates},
              {"loss", losses},
              {"look_seconds", looks},
              {"layers_of_codes", layers.size()},
              {"baseline_bytes", baseline},
              {"peak_bytes", highest},
              {"peak_above_baseline_bytes", highest - baseline},
              {"threads", owned.compute->n_threads()},
              {"isa", isa_name(a.isa)},
              {"parts_seconds", parts}});
  }
}

// Of the tokens of one rank; the other has none of its own. By formula, which tests hold against what is sent.
void dispatch(const Arguments& a) {
  check(a.words.size() == 2, ErrorKind::invalid, "usage: train_step_worker dispatch CONFIG");
  Config config = load_config(a.words[1]);
  apply_overrides(config, a.set);
  config.parallel = parse_layout("dp=2,ep=2");
  config.train.recompute = Recompute::norms;
  config.train.attention_form = AttentionForm::up_projected;
  config.train.micro_batch_sequences = 1;
  json answer;
  for (const Precision precision : {Precision::bf16, Precision::fp8}) {
    config.train.precision = precision;
    double bytes = 0;
    each_transfer(config, Placement(config.model, config.parallel), {{{config.data.sequence_length}}},
                  [&](TrafficKind kind, int64_t from, int64_t, double sent) {
                    if (kind == TrafficKind::experts && from == 0) bytes += sent;
                  });
    answer[enum_name(precision)] = bytes;
  }
  tell(answer);
}

int main_checked(int argc, char** argv) {
  const auto a = parse(argc, argv);
  const std::string mode = a.words.empty() ? "" : a.words[0];
  if (mode == "prepare")
    prepare(a);
  else if (mode == "peak")
    peak(a);
  else if (mode == "run")
    run(a);
  else if (mode == "dispatch")
    dispatch(a);
  else
    fail(ErrorKind::invalid, "give a mode: prepare, peak, run or dispatch");
  return 0;
}

}  // namespace
}  // namespace hadal

int main(int argc, char** argv) {
  try {
    return hadal::main_checked(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "train_step_worker: error: " << error.what() << "\n";
    return 1;
  }
}
