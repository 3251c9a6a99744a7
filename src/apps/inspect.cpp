// hadal inspect: what a configuration is by arithmetic alone (parameters, FLOPs, cache, memory, released tensors), and
// what a model's directory holds (tensors as stored, FP8 scales, tokenizer).
#include <map>

#include "apps/cli.h"
#include "apps/inspect.h"
#include "apps/inspect_layout.h"
#include "arch/arch.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/system_info.h"
#include "base/table.h"
#include "base/text_format.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/phase_record.h"
#include "config/config_io.h"
#include "exchange/model_directory.h"
#include "phases/kinds.h"

namespace hadal {
namespace {

struct InspectOptions {
  std::string config, model, dtype, layout, svg;
  bool tensors = false, json = false;
  int64_t context = 4096;
  CommonOptions common;
};

struct Inspected {
  std::string title;
  Config run;  // of a configuration file
  HfConfig config;
  std::optional<ModelLocation> stored;  // a directory; absent for a configuration
  const ModelConfig& model() const { return config.model; }
};

const std::string& named(const InspectOptions& o) { return o.model.empty() ? o.config : o.model; }

bool is_json(const std::string& path) { return std::filesystem::path(path).extension() == ".json"; }

HfConfig read_model_json(const std::filesystem::path& path) {
  if (path.filename() != "model.json") return hf_config_from_json(read_file(path), path.string());
  HfConfig config;
  config.model = model_config_from_json(read_file(path), path.string());
  return config;
}

Inspected read_directory(const std::string& path) {
  Inspected inspected;
  inspected.stored = locate_model(path);
  inspected.title = inspected.stored->directory.string();
  inspected.config =
      read_model_json(inspected.stored->directory / (inspected.stored->hugging_face ? "config.json" : "model.json"));
  return inspected;
}

// How the released layout would store it: as config.json says, else FP8 as DeepSeek-V3 is released.
void choose_storage(const InspectOptions& o, bool known, HfConfig& config) {
  if (known && o.dtype.empty()) return;
  config.fp8 = o.dtype.empty() || o.dtype == "fp8";
  config.dtype = o.dtype == "fp32" ? "float32" : o.dtype == "fp16" ? "float16" : "bfloat16";
}

Inspected read(const InspectOptions& o) {
  check(o.config.empty() != o.model.empty(), ErrorKind::invalid,
        "give one of: a configuration file, a model's directory, a config.json");
  const std::string& path = named(o);
  const bool directory = std::filesystem::is_directory(path) || phase_run(path), json = !directory && is_json(path);
  check(o.layout.empty() || !(directory || json), ErrorKind::invalid,
        "--layout shows how a configuration file's run lies on ranks; {} is a model", path);
  check(o.svg.empty() || !(directory || json), ErrorKind::invalid,
        "--svg draws the layout of a configuration file's run; {} is a model", path);
  check(o.common.set.empty() || !(directory || json), ErrorKind::invalid,
        "--set changes a configuration file, not the model in {}", path);
  if (directory || (!o.model.empty() && !json)) {
    check(o.dtype.empty(), ErrorKind::invalid, "--dtype {} is for configurations: {} is shown as it is stored", o.dtype,
          path);
    return read_directory(path);
  }
  Inspected inspected;
  inspected.title = path;
  if (json) {
    inspected.config = read_model_json(path);
  } else {
    Config config;  // of one with phases, what is common to all
    if (has_phases(path)) {
      config = load_phases(path, training_kinds(), o.common.set).base;
    } else {
      config = load_config(path);
      apply_overrides(config, o.common.set);
    }
    if (config.model.vocab_size == 0) config.model.vocab_size = config.tokenizer.vocab_size;
    inspected.config.model = config.model;
    inspected.run = std::move(config);
    if (!o.layout.empty()) inspected.run.parallel = parse_layout(o.layout);
  }
  choose_storage(o, json && std::filesystem::path(path).filename() != "model.json", inspected.config);
  return inspected;
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

void print_architecture(const HfConfig& config) {
  const auto& m = config.model;
  const bool hf = !config.model_type.empty();
  fmt::print("{}{} layers ({} dense), width {}, {} heads, ", hf ? config.model_type + ": " : std::string(), m.n_layers,
             m.n_dense_layers, m.hidden_size, m.n_heads);
  if (m.is_latent()) {
    fmt::print("latent {}{}", m.kv_lora_rank, m.q_lora_rank > 0 ? fmt::format(" (queries {})", m.q_lora_rank) : "");
  } else {
    fmt::print("{} of keys and values, of {}", m.key_value_heads(), m.whole_head_dim());
  }
  if (m.n_routed_experts > 0)
    fmt::print(", {} of {} experts + {} shared, {} gate{}", m.n_experts_per_token, m.n_routed_experts,
               m.n_shared_experts, enum_name(m.score_function),
               m.n_groups > 1
                   ? fmt::format(", {} of {} groups by {}", m.n_limited_groups, m.n_groups, enum_name(m.group_score))
                   : "");
  fmt::print("{}{}{}\n\n", m.n_mtp > 0 ? fmt::format(", {} MTP", m.n_mtp) : "",
             m.yarn.factor > 1 ? fmt::format(", YaRN x {:g}", m.yarn.factor) : "",
             m.tie_embeddings ? ", head tied to the embedding" : "");
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
  const auto line = [&](const std::string& what, int64_t bytes) {
    fmt::print("  {:<25} {} B{}\n", what, format_count(bytes),
               bytes == cache.own ? "" : fmt::format(" ({:.1f} x)", double(bytes) / double(cache.own)));
  };
  line(model.is_latent() ? "latent (MLA)" : fmt::format("{} key/value heads", model.key_value_heads()), cache.own);
  line("multi-head attention", cache.mha);
  line("8 key/value heads (GQA)", cache.gqa8);
  const double weights = 2.0 * double(counts.total + counts.mtp), training = 16.0 * double(counts.total + counts.mtp);
  fmt::print("\ntraining state: {} (BF16 weights, FP32 gradients, masters, moments: 18 B each); {} available here\n",
             format_bytes(training + weights), format_bytes(double(memory_info().available)));
}

nlohmann::ordered_json sizes_json(const Inspected& inspected, int64_t context) {
  const auto& model = inspected.model();
  const auto counts = count_parameters(model);
  const auto flops = count_flops(model, context);
  const auto cache = cache_bytes(model);
  return {{"name", inspected.title},
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
          {model.is_latent() ? "cache_bytes_latent" : "cache_bytes_heads", cache.own},
          {"cache_bytes_mha", cache.mha},
          {"cache_bytes_gqa8", cache.gqa8}};
}

int inspect_directory(const InspectOptions& o, Inspected inspected) {
  const ModelLocation& at = *inspected.stored;
  const TensorFiles files = TensorFiles::open(at.directory);
  drop_absent_mtp(inspected.config, files);
  const auto tensors = listed(files);
  const auto scales = scale_statistics(files);
  const auto tokenizer = tokenizer_facts(at.directory);
  if (o.json) {
    auto json = sizes_json(inspected, o.context);
    json["model_type"] = inspected.config.model_type;
    json["files"] = files.n_files();
    json["tensor_count"] = tensors.size();
    json["tensor_bytes"] = files.bytes();
    json["stored"] = types_json(tensors);
    if (scales.tensors > 0) json["fp8_scales"] = scales_json(scales);
    json["tokenizer"] = tokenizer_json(tokenizer);
    json["memory"] = memory_json(memory_fits(inspected.model()));
    if (o.tensors) json["tensors"] = listed_json(tensors);
    if (has_phase_records(named(o))) json["phases"] = lineage_json(named(o));
    json["notices"] = open_model(at.directory).notices();
    fmt::print("{}\n", json_text(json, {.indent = 2}));
    return kExitFine;
  }
  fmt::print("{}\n", inspected.title);
  print_lineage(named(o));
  print_architecture(inspected.config);
  if (o.tensors) print_listed(tensors);
  print_kinds(inspected.model());
  print_types(tensors);
  fmt::print("{} tensors in {} file{}, {} B of data\n\n", format_count(int64_t(tensors.size())), files.n_files(),
             files.n_files() == 1 ? "" : "s", format_count(int64_t(files.bytes())));
  print_scales(scales);
  print_sizes(inspected.model(), o.context);
  print_memory(memory_fits(inspected.model()));
  fmt::print("\n");
  print_tokenizer(tokenizer);
  std::fflush(stdout);
  // The whole check that loading makes; its error is the last thing said, after all that could be found out without.
  const auto notices = open_model(at.directory).notices();
  for (const auto& notice : notices) fmt::print("note: {}\n", notice);
  return kExitFine;
}

int inspect(const InspectOptions& o) {
  Inspected inspected = read(o);
  validate(inspected.model());
  if (inspected.stored) return inspect_directory(o, std::move(inspected));
  if (!o.svg.empty()) draw_layout(inspected.run, o.svg);
  if (o.json) {
    auto json = sizes_json(inspected, o.context);
    json["memory"] = memory_json(memory_fits(inspected.model()));
    if (inspected.run.parallel.ranks() > 1) json["layout"] = layout_json(inspected.run);
    if (o.tensors) {
      const auto tensors = listed(released_tensors(inspected.config));
      int64_t bytes = 0;
      for (const auto& tensor : tensors) bytes += tensor.bytes;
      json["tensor_count"] = tensors.size();
      json["tensor_bytes"] = bytes;
      json["stored"] = types_json(tensors);
      json["tensors"] = listed_json(tensors);
    }
    fmt::print("{}\n", json_text(json, {.indent = 2}));
    return kExitFine;
  }
  fmt::print("{}\n", inspected.title);
  print_architecture(inspected.config);
  if (o.tensors) {
    const auto tensors = listed(released_tensors(inspected.config));
    fmt::print("as the released layout stores it ({}):\n", inspected.config.fp8 ? "FP8" : inspected.config.dtype);
    print_listed(tensors);
    print_types(tensors);
  }
  print_kinds(inspected.model());
  print_sizes(inspected.model(), o.context);
  print_memory(memory_fits(inspected.model()));
  if (inspected.run.parallel.ranks() > 1 || !o.layout.empty()) {
    fmt::print("\n");
    print_layout(inspected.run);
  }
  if (!o.svg.empty()) fmt::print("picture    {}\n", o.svg);
  for (const auto& notice : inspected.config.notices) fmt::print("note: {}\n", notice);
  return kExitFine;
}

}  // namespace

void add_inspect(Verb root, Cli& cli) {
  auto o = std::make_shared<InspectOptions>();
  Verb verb = root.add_verb("inspect",
                            "Parameters, tensors, FLOPs, cache and memory of a configuration or a model; "
                            "FP8 scales and tokenizer of a directory");
  verb.add_option("config", o->config, "a configuration file (TOML), a config.json, a model's directory, or RUN:NAME");
  verb.add_option("--layout", o->layout,
                  "how a configuration's run lies on ranks, such as dp=2,pp=4: mesh, stages, memory, traffic");
  verb.add_option("--svg", o->svg, "draw the layout into this file: who is where, who sends whom how much in a step");
  verb.add_option("--model", o->model, "a run, an exported model or a Hugging Face directory");
  verb.add_option(
          "--dtype", o->dtype,
          "how a configuration would be stored: fp8, bf16, fp16, fp32; default: as its config.json says, else fp8")
      .one_of({"fp8", "bf16", "fp16", "fp32"});
  verb.add_option("--context", o->context, "context length for FLOPs")
      .within(int64_t(1), int64_t(1) << 30)
      .show_default();
  verb.add_flag("--tensors", o->tensors, "list every tensor: as stored, or as the released layout would store it");
  verb.add_flag("--json", o->json, "print one JSON object");
  add_set_option(verb, o->common);
  verb.add_examples({"hadal inspect configs/deepseek-v3-671b.toml --tensors", "hadal inspect path/to/huggingface-model",
                     "hadal inspect --model runs/shakespeare --json",
                     "hadal inspect configs/shakespeare.toml --layout dp=2,pp=2,ep=2 --svg layout.svg"});
  cli.on(verb, [o] { return inspect(*o); });
}

}  // namespace hadal
