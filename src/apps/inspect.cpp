// hadal inspect: what a configuration or a model's directory is, by arithmetic alone: parameters, FLOPs, cache, memory.
#include <map>
#include <nlohmann/json.hpp>

#include "apps/cli.h"
#include "arch/arch.h"
#include "base/error.h"
#include "base/files.h"
#include "base/system_info.h"
#include "base/table.h"
#include "base/text_format.h"
#include "checkpoint/checkpoint.h"
#include "config/config_io.h"
#include "model/transformer.h"

namespace hadal {
namespace {

struct Options {
  std::string config, model;
  bool tensors = false, json = false;
  int64_t context = 4096;
  RunOptions run;
};

struct Inspected {
  std::string title;
  ModelConfig model;
};

Inspected read(const Options& o) {
  check(o.config.empty() != o.model.empty(), ErrorKind::invalid, "give either a configuration file or --model DIR");
  if (!o.model.empty()) {
    const auto at = locate_model(o.model);
    const auto path = (at.directory / "model.json").string();
    check(o.run.set.empty(), ErrorKind::invalid, "--set changes a configuration file, not the model in {}", o.model);
    return {at.directory.string(), model_config_from_json(read_file(path), path)};
  }
  Config config = load_config(o.config);
  apply_overrides(config, o.run.set);
  if (config.model.vocab_size == 0) config.model.vocab_size = config.tokenizer.vocab_size;
  return {o.config, config.model};
}

std::string billions(double value) { return value >= 1e9 ? fmt::format("{:.2f} B", value / 1e9) : format_si(value); }

void print_kinds(const ModelConfig& model) {
  struct Row {
    int64_t tensors = 0, total = 0, active = 0;
  };
  std::map<ParameterKind, Row> main, mtp;
  for (const auto& spec : parameter_list(model)) {
    auto& row = (spec.layer >= model.n_layers ? mtp : main)[spec.kind];
    row.tensors += spec.n_experts();
    row.total += spec.count();
    row.active += spec.kind == ParameterKind::routed_expert
                      ? spec.count() / model.n_routed_experts * model.n_experts_per_token
                      : spec.count();
  }
  Table table({"part", "tensors", "parameters", "activated per token"});
  for (const auto& [kind, row] : main)
    table.add({kind_name(kind), format_count(row.tensors), format_count(row.total), format_count(row.active)});
  if (!mtp.empty()) table.add_rule();
  for (const auto& [kind, row] : mtp)
    table.add({kind == ParameterKind::mtp_projection ? kind_name(kind) : std::string("MTP ") + kind_name(kind),
               format_count(row.tensors), format_count(row.total), format_count(row.active)});
  fmt::print("{}\n", table.text());
}

void print_tensors(const ModelConfig& model) {
  Table table({"name", "Hugging Face name", "shape", "parameters", "std"});
  for (const auto& spec : parameter_list(model)) {
    std::string shape;
    for (int64_t size : spec.shape) shape += (shape.empty() ? "[" : ", ") + std::to_string(size);
    table.add({spec.name, spec.hf_name, shape + "]", format_count(spec.count()),
               spec.init_std > 0 ? fmt::format("{:.4g}", spec.init_std) : "-"});
  }
  fmt::print("{}\n", table.text());
}

void print_sizes(const ModelConfig& model, int64_t context) {
  const auto counts = count_parameters(model);
  const auto flops = count_flops(model, context);
  const auto cache = cache_bytes(model);
  fmt::print("parameters in all           {}\n", format_count(counts.total));
  fmt::print("activated per token         {} ({}) with embedding and head\n", format_count(counts.activated),
             billions(double(counts.activated)));
  fmt::print("                            {} ({}) without the embedding\n", format_count(counts.activated_no_embedding),
             billions(double(counts.activated_no_embedding)));
  if (counts.mtp > 0)
    fmt::print("MTP modules' own            {} ({})\n", format_count(counts.mtp), billions(double(counts.mtp)));
  fmt::print("\nFLOP per token at a context of {}:\n", format_count(context));
  fmt::print("  forward, products         {}FLOP\n", format_si(flops.linear));
  fmt::print("  forward, attention        {}FLOP causal, {}FLOP full\n", format_si(flops.attention_causal),
             format_si(flops.attention_full));
  fmt::print("  training (3 x forward)    {}FLOP causal, {}FLOP full\n", format_si(flops.training_causal()),
             format_si(flops.training_full()));
  if (counts.mtp > 0) fmt::print("  training, MTP adds        {}FLOP\n", format_si(3 * flops.mtp));
  fmt::print("\ncache per token in BF16:\n");
  fmt::print("  latent (MLA)              {} B\n", format_count(cache.latent));
  fmt::print("  multi-head attention      {} B ({:.1f} x)\n", format_count(cache.mha),
             double(cache.mha) / double(cache.latent));
  fmt::print("  8 key/value heads (GQA)   {} B ({:.1f} x)\n", format_count(cache.gqa8),
             double(cache.gqa8) / double(cache.latent));
  const double weights = 2.0 * double(counts.total + counts.mtp), training = 16.0 * double(counts.total + counts.mtp);
  const auto memory = memory_info();
  fmt::print(
      "\nmemory: weights {} in BF16; training state {} (BF16 weights, FP32 gradients, masters, moments: 18 B each); "
      "this machine has {} available\n",
      format_bytes(weights), format_bytes(training + weights), format_bytes(double(memory.available)));
}

int print_json(const Inspected& inspected, int64_t context) {
  const auto counts = count_parameters(inspected.model);
  const auto flops = count_flops(inspected.model, context);
  const auto cache = cache_bytes(inspected.model);
  const nlohmann::ordered_json json = {{"name", inspected.title},
                                       {"parameters", counts.total},
                                       {"activated", counts.activated},
                                       {"activated_without_embedding", counts.activated_no_embedding},
                                       {"mtp_parameters", counts.mtp},
                                       {"context", context},
                                       {"forward_flops_linear", flops.linear},
                                       {"forward_flops_attention_causal", flops.attention_causal},
                                       {"forward_flops_attention_full", flops.attention_full},
                                       {"training_flops_causal", flops.training_causal()},
                                       {"training_flops_full", flops.training_full()},
                                       {"cache_bytes_latent", cache.latent},
                                       {"cache_bytes_mha", cache.mha},
                                       {"cache_bytes_gqa8", cache.gqa8}};
  fmt::print("{}\n", json.dump(2));
  return kExitFine;
}

int inspect(const Options& o) {
  const auto inspected = read(o);
  validate(inspected.model);
  if (o.json) return print_json(inspected, o.context);
  fmt::print("{}\n\n", inspected.title);
  if (o.tensors) print_tensors(inspected.model);
  print_kinds(inspected.model);
  print_sizes(inspected.model, o.context);
  return kExitFine;
}

}  // namespace

void add_inspect(CLI::App& root, Cli& cli) {
  auto o = std::make_shared<Options>();
  CLI::App* verb = root.add_subcommand(
      "inspect", "Parameters, FLOPs, cache and memory of a configuration or a model, by arithmetic");
  verb->add_option("config", o->config, "a configuration file (TOML)");
  verb->add_option("--model", o->model, "a run directory or an exported model");
  verb->add_option("--context", o->context, "context length for FLOPs")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 30))
      ->capture_default_str();
  verb->add_flag("--tensors", o->tensors, "list every parameter");
  verb->add_flag("--json", o->json, "print one JSON object");
  add_set_option(*verb, o->run);
  add_examples(*verb,
               {"hadal inspect configs/deepseek-v3-671b.toml", "hadal inspect --model runs/shakespeare --tensors"});
  cli.on(verb, [o] { return inspect(*o); });
}

}  // namespace hadal
