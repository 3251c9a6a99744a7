// The plan of a GGUF file: llama.cpp's names and layouts of the tensors, the type of each, split files.
//   kv_b [heads * (nope + v), latent] becomes attn_k_b [heads, latent, nope], transposed, and attn_v_b [heads, v,
//     latent];
//   a layer's experts are stacked. Rotary rows stay as released: readers rotate interleaved pairs here.
#include <algorithm>

#include "base/error.h"
#include "exchange/export_plan.h"
#include "exchange/gguf_metadata.h"
#include "storage/gguf_blocks.h"

namespace hadal {

namespace {

struct Target {
  const char* dtype;
  GgufType matrices, head;
  uint32_t file_type;  // of llama.cpp
};
// The head decides between neighbouring words: four bits would be felt there, and it is a small part of a model.
constexpr Target kTargets[] = {{"fp32", GgufType::f32, GgufType::f32, 0},
                               {"bf16", GgufType::bf16, GgufType::bf16, 32},
                               {"f16", GgufType::f16, GgufType::f16, 1},
                               {"q8_0", GgufType::q8_0, GgufType::q8_0, 7},
                               {"q4_0", GgufType::q4_0, GgufType::q8_0, 2}};

Encoding encoding_of(GgufType type) {
  switch (type) {
    case GgufType::bf16: return Encoding::bf16;
    case GgufType::f16: return Encoding::f16;
    case GgufType::q8_0: return Encoding::q8_0;
    case GgufType::q4_0: return Encoding::q4_0;
    default: return Encoding::f32;
  }
}

// Our name behind "layers.N." -> theirs behind "blk.N.".
const std::pair<const char*, const char*> kNames[] = {{"attention_norm", "attn_norm.weight"},
                                                      {"attention.q", "attn_q.weight"},
                                                      {"attention.q_a", "attn_q_a.weight"},
                                                      {"attention.q_a_norm", "attn_q_a_norm.weight"},
                                                      {"attention.q_b", "attn_q_b.weight"},
                                                      {"attention.kv_a", "attn_kv_a_mqa.weight"},
                                                      {"attention.kv_a_norm", "attn_kv_a_norm.weight"},
                                                      {"attention.o", "attn_output.weight"},
                                                      {"ffn_norm", "ffn_norm.weight"},
                                                      {"ffn.gate", "ffn_gate.weight"},
                                                      {"ffn.up", "ffn_up.weight"},
                                                      {"ffn.down", "ffn_down.weight"},
                                                      {"moe.router", "ffn_gate_inp.weight"},
                                                      {"moe.bias", "exp_probs_b.bias"},
                                                      {"moe.experts.gate", "ffn_gate_exps.weight"},
                                                      {"moe.experts.up", "ffn_up_exps.weight"},
                                                      {"moe.experts.down", "ffn_down_exps.weight"},
                                                      {"moe.shared.gate", "ffn_gate_shexp.weight"},
                                                      {"moe.shared.up", "ffn_up_shexp.weight"},
                                                      {"moe.shared.down", "ffn_down_shexp.weight"}};

std::string gguf_name(const ParameterSpec& spec) {
  if (spec.name == "embedding") return "token_embd.weight";
  if (spec.name == "final_norm") return "output_norm.weight";
  if (spec.name == "head") return "output.weight";
  const std::string ours = spec.name.substr(fmt::format("layers.{}.", spec.layer).size());
  for (const auto& [from, to] : kNames)
    if (ours == from) return fmt::format("blk.{}.{}", spec.layer, to);
  fail(ErrorKind::internal, "parameter '{}' has no name in GGUF", spec.name);
}

class GgufPlanner {
 public:
  GgufPlanner(const ExportSource& source, const ExportRequest& request)
      : source_(source),
        model_(source.model()),
        target_(*std::find_if(std::begin(kTargets), std::end(kTargets),
                              [&](const Target& target) { return request.dtype == target.dtype; })) {
    plan_.to = "gguf", plan_.dtype = request.dtype, plan_.shard_bytes = request.shard_bytes;
    plan_.notices = source.notices();
    for (auto& limit : gguf_limits(model_)) plan_.notices.push_back(std::move(limit));
  }

  ExportPlan plan(const GgufVocabulary* vocabulary, const std::string& name) {
    for (const auto& spec : source_.parameters()) {
      if (spec.layer >= model_.n_layers) continue;  // MTP: named among the limits
      if (spec.name == fmt::format("layers.{}.attention.kv_b", spec.layer)) {
        up_projections(spec);
      } else {
        parameter(spec);
      }
      if (spec.name == fmt::format("layers.{}.moe.experts.down", spec.layer) && model_.n_shared_experts == 0)
        zero_experts(spec.layer);
    }
    if (!uneven_.empty())
      plan_.notices.push_back(
          fmt::format("{} tensors, such as {}, stay BF16: their rows are no multiple of {} values long", uneven_.size(),
                      uneven_.front(), kGgufBlock));
    files(vocabulary, name);
    return std::move(plan_);
  }

 private:
  void parameter(const ParameterSpec& spec) {
    std::vector<ExportRows> rows;
    for (const StoredWeight& weight : source_.weights().stored(spec)) rows.push_back({weight});
    const bool high = spec.kind == ParameterKind::norm || spec.kind == ParameterKind::router ||
                      spec.kind == ParameterKind::router_bias;
    const bool head =
        spec.kind == ParameterKind::head || (spec.kind == ParameterKind::embedding && model_.tie_embeddings);
    add(gguf_name(spec), spec.shape, high ? GgufType::f32 : head ? target_.head : target_.matrices, std::move(rows));
  }

  void up_projections(const ParameterSpec& spec) {
    const int64_t heads = model_.n_heads, nope = model_.qk_nope_head_dim, v = model_.v_head_dim;
    const StoredWeight whole = source_.weights().stored(spec).at(0);
    std::vector<ExportRows> keys, values;
    for (int64_t head = 0; head < heads; ++head) {
      StoredWeight part = whole;
      part.first_row = whole.first_row + head * (nope + v), part.rows = nope;
      keys.push_back({part, true});
      part.first_row += nope, part.rows = v;
      values.push_back({part});
    }
    const std::string block = fmt::format("blk.{}.", spec.layer);
    add(block + "attn_k_b.weight", {heads, model_.kv_lora_rank, nope}, target_.matrices, std::move(keys));
    add(block + "attn_v_b.weight", {heads, v, model_.kv_lora_rank}, target_.matrices, std::move(values));
  }

  void zero_experts(int64_t layer) {
    const int64_t size = model_.expert_ffn_size, hidden = model_.hidden_size;
    const std::string block = fmt::format("blk.{}.", layer);
    for (const char* name : {"ffn_gate_shexp.weight", "ffn_up_shexp.weight"})
      add(block + name, {size, hidden}, target_.matrices, {{{"", "", -1, 0, size}}});
    add(block + "ffn_down_shexp.weight", {hidden, size}, target_.matrices, {{{"", "", -1, 0, hidden}}});
  }

  void add(std::string name, Shape shape, GgufType type, std::vector<ExportRows> rows) {
    const bool blocks = type == GgufType::q8_0 || type == GgufType::q4_0;
    if (blocks && shape.back() % kGgufBlock != 0) {
      type = GgufType::bf16;
      uneven_.push_back(name);
    }
    ExportTensor tensor{std::move(name), std::move(shape), encoding_of(type), std::move(rows), {}, 0};
    tensor.bytes = gguf_bytes(type, shape_count(tensor.shape));
    plan_.tensors.push_back(std::move(tensor));
    types_.push_back(type);
  }

  void files(const GgufVocabulary* vocabulary, const std::string& name) {
    const auto cut = plan_.shards();
    check(cut.size() <= UINT16_MAX, ErrorKind::invalid, "{} files are too many for GGUF; choose a larger shard size",
          cut.size());
    for (size_t shard = 0; shard < cut.size(); ++shard) {
      GgufKeys keys;
      if (shard == 0) {
        keys = gguf_model_keys(model_, name, target_.file_type);
        add_gguf_vocabulary(model_, vocabulary, keys);
      }
      ExportFile file;
      file.name = fmt::format("model-{}.gguf", plan_.dtype);
      if (cut.size() > 1) {
        file.name = fmt::format("model-{}-{:05d}-of-{:05d}.gguf", plan_.dtype, shard + 1, cut.size());
        keys.add_u16("split.no", uint16_t(shard));
        keys.add_u16("split.count", uint16_t(cut.size()));
        keys.add_i32("split.tensors.count", int32_t(plan_.tensors.size()));
      }
      std::vector<GgufEntry> entries;
      for (size_t i : cut[shard]) {
        const auto& tensor = plan_.tensors[i];
        entries.push_back({tensor.name, tensor.shape, types_[i], tensor.bytes, 0});
      }
      file.prefix = gguf_prefix(keys, entries);
      file.bytes = file.prefix.size();
      for (size_t k = 0; k < entries.size(); ++k) {
        file.slots.push_back({cut[shard][k], file.prefix.size() + entries[k].offset});
        file.bytes =
            (file.slots.back().offset + entries[k].bytes + kGgufAlignment - 1) / kGgufAlignment * kGgufAlignment;
      }
      plan_.files.push_back(std::move(file));
    }
  }

  const ExportSource& source_;
  const ModelConfig& model_;
  const Target target_;
  ExportPlan plan_;
  std::vector<GgufType> types_;      // of plan_.tensors
  std::vector<std::string> uneven_;  // kept BF16
};

}  // namespace

ExportPlan plan_gguf(const ExportSource& source, const ExportRequest& request, const GgufVocabulary* vocabulary,
                     const std::string& name) {
  check_export_dtype("gguf", request.dtype);
  check(source.model().is_latent(), ErrorKind::unsupported,
        "model.attention = \"{}\" cannot be written to GGUF: its architecture deepseek2 has latent attention; "
        "--to hf writes this model",
        enum_name(source.model().attention));
  return GgufPlanner(source, request).plan(vocabulary, name);
}

}  // namespace hadal
