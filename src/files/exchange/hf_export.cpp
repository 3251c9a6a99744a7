// The plan of a Hugging Face directory: released names and order, safetensors shards with their index, config.json.
#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "exchange/export_plan.h"
#include "exchange/released_tensors.h"
#include "model/transformer.h"

namespace hadal {

namespace {

const char* target_name(DType dtype) {
  switch (dtype) {
    case DType::f32: return "fp32";
    case DType::bf16: return "bf16";
    case DType::f16: return "f16";
    case DType::f8_e4m3: return "fp8";
    default: return "";  // f64 is read, not written
  }
}

// Of the parameters that are stored in FP8 as a rule those of linears that the run keeps high (fp8.high, first and last
// layers): its next forward reads their values.
std::set<std::string> kept_high(const ModelConfig& config, const Fp8Config& fp8) {
  std::set<std::string> names;
  if (fp8.high.empty() && fp8.high_first_layers == 0 && fp8.high_last_layers == 0) return names;
  ModelOptions options;
  options.precision = Precision::fp8, options.training = true, options.bare = true;
  options.recipe = recipe_of(Precision::fp8, fp8);
  const Transformer model(config, options, Exec());
  for (const Parameter* parameter : model.parameters())
    if (is_stored_as_fp8(parameter->spec) && !parameter->codes) names.insert(parameter->spec.name);
  return names;
}

std::string module_of(const std::string& tensor) { return tensor.substr(0, tensor.rfind(".weight")); }

class HfPlanner {
 public:
  HfPlanner(const ExportSource& source, const ExportRequest& request)
      : source_(source), same_(request.dtype == target_name(source.main_dtype())) {
    plan_.to = "hf", plan_.dtype = request.dtype, plan_.shard_bytes = request.shard_bytes;
    plan_.notices = source.notices();
    const Fp8Config& fp8 = source.fp8();
    if (request.dtype == "fp8" && !same_) high_ = kept_high(source.model(), fp8);
    const int64_t tile = fp8_tile(Precision::fp8, fp8);
    plan_.block = {tile, tile}, plan_.powers_of_two = fp8.weight_scales == Fp8Scales::power_of_two;
  }

  ExportPlan plan() {
    const auto& specs = source_.parameters();
    for (size_t i = 0; i < specs.size(); ++i) {
      parameter(specs[i]);
      const bool ends_layer = i + 1 == specs.size() || specs[i + 1].layer != specs[i].layer;
      if (ends_layer && specs[i].layer >= source_.model().n_layers) mtp_copies(specs[i].layer);
    }
    if (same_) leftovers();
    if (n_cut_ > 0)
      plan_.notices.push_back(fmt::format(
          "{} matrices end in partial FP8 blocks, as the released kv_a_proj does: transformers on a CPU misreads those "
          "(it takes a block's size from the number of scales); Hadal and GPU kernels do not",
          n_cut_));
    shards();
    plan_.texts.emplace_back("config.json", config_json());
    return std::move(plan_);
  }

 private:
  void parameter(const ParameterSpec& spec) {
    int64_t expert = 0;
    for (const StoredWeight& weight : source_.weights().stored(spec)) {
      const Shape shape = spec.n_experts() > 1 || spec.kind == ParameterKind::routed_expert
                              ? Shape(spec.shape.begin() + 1, spec.shape.end())
                              : Shape(spec.shape);
      weigh(spec.hf_name_of(expert++), shape, spec, weight);
    }
  }

  void weigh(const std::string& name, const Shape& shape, const ParameterSpec& spec, const StoredWeight& weight) {
    used_.insert(weight.name);
    if (!weight.scale_name.empty()) used_.insert(weight.scale_name);
    const DType stored = source_.files().entry(weight.name).dtype;
    if (same_) {
      add({name, shape, Encoding::stored, {rows_of(weight, spec)}, {}, 0}, stored);
      if (!weight.scale_name.empty()) stored_scales(name, weight);
    } else if (plan_.dtype == "fp8" && is_stored_as_fp8(spec) && !high_.contains(spec.name)) {
      const std::string scales = name + "_scale_inv";
      add({name, shape, Encoding::fp8, {rows_of(weight, spec)}, scales, 0}, DType::f8_e4m3);
      add({scales, scale_shape(shape, plan_.block), Encoding::fp8_scales, {}, {}, 0}, DType::f32);
      const int64_t block = plan_.block.rows;
      const auto cut = [block](int64_t size) { return size > block && size % block != 0; };
      n_cut_ += cut(shape[0]) || cut(shape[1]);
    } else {
      if (plan_.dtype == "fp8" && is_stored_as_fp8(spec)) named_high_.push_back(module_of(name));
      const bool half = plan_.dtype == "f16";
      const bool bias_stays = spec.kind == ParameterKind::router_bias && stored != (half ? DType::f16 : DType::bf16);
      const DType dtype = plan_.dtype == "fp32" || bias_stays ? DType::f32 : half ? DType::f16 : DType::bf16;
      const Encoding encoding = dtype == DType::f32   ? Encoding::f32
                                : dtype == DType::f16 ? Encoding::f16
                                                      : Encoding::bf16;
      add({name, shape, stored == dtype ? Encoding::stored : encoding, {rows_of(weight, spec)}, {}, 0}, dtype);
    }
  }

  // Llama's q and k in the order that its readers expect, unless they lie so.
  static ExportRows rows_of(const StoredWeight& weight, const ParameterSpec& spec) {
    return {weight, false, weight.half_split > 0 ? 0 : spec.rotated_head};
  }

  void stored_scales(const std::string& name, const StoredWeight& weight) {
    const auto& entry = source_.files().entry(weight.scale_name);
    const int64_t block = source_.block().rows;
    check(weight.first_row % block == 0, ErrorKind::unsupported,
          "'{}' begins inside an FP8 block of '{}'; export it to another type", name, weight.name);
    StoredWeight scales{weight.scale_name, "", -1, weight.first_row / block, (weight.rows + block - 1) / block};
    add({name + "_scale_inv", {scales.rows, entry.shape.back()}, Encoding::stored, {{scales}}, {}, 0}, entry.dtype);
  }

  // Released MTP layers carry embedding and head again.
  void mtp_copies(int64_t layer) {
    const std::string prefix = fmt::format("model.layers.{}.", layer);
    const auto& specs = source_.parameters();
    const auto find = [&](const std::string& name) {
      return *std::find_if(specs.begin(), specs.end(), [&](const auto& spec) { return spec.name == name; });
    };
    const auto copy = [&](const std::string& name, const ParameterSpec& spec) {
      StoredWeight weight = source_.weights().stored(spec).at(0);
      if (source_.files().has(name)) weight.name = name;  // it equals the main one in value, not always in type
      weigh(name, spec.shape, spec, weight);
    };
    const auto embedding = find("embedding");
    copy(prefix + "embed_tokens.weight", embedding);
    copy(prefix + "shared_head.head.weight", source_.model().tie_embeddings ? embedding : find("head"));
  }

  // What a directory of this type carries beside the model's parameters (a tied head, rotary tables) goes along.
  void leftovers() {
    for (const std::string& name : source_.files().names()) {
      if (used_.count(name) != 0) continue;
      const auto& entry = source_.files().entry(name);
      const int64_t rows =
          entry.shape.size() < 2 ? 1 : shape_count(entry.shape) / std::max<int64_t>(1, entry.shape.back());
      add({name, entry.shape, Encoding::stored, {{{name, "", -1, 0, rows}}}, {}, 0}, entry.dtype);
    }
  }

  void add(ExportTensor tensor, DType dtype) {
    tensor.bytes = uint64_t(shape_count(tensor.shape) * dtype_bytes(dtype));
    plan_.tensors.push_back(std::move(tensor));
    dtypes_.push_back(dtype);
  }

  void shards() {
    const auto cut = plan_.shards();
    std::map<std::string, std::string> map;
    uint64_t total = 0;
    for (size_t shard = 0; shard < cut.size(); ++shard) {
      ExportFile file;
      file.name = tensor_file_name(kModelStem, shard, cut.size());
      std::vector<SafetensorsEntry> entries;
      std::map<std::string, size_t> index;
      for (size_t i : cut[shard]) {
        entries.push_back({plan_.tensors[i].name, dtypes_[i], plan_.tensors[i].shape, 0, 0});
        index[plan_.tensors[i].name] = i;
        map[plan_.tensors[i].name] = file.name;
        total += plan_.tensors[i].bytes;
      }
      file.prefix = safetensors_prefix(entries, {{"format", "pt"}}, file.name);
      for (const auto& entry : entries) file.slots.push_back({index.at(entry.name), file.prefix.size() + entry.begin});
      file.bytes = file.prefix.size() + (entries.empty() ? 0 : entries.back().end);
      plan_.files.push_back(std::move(file));
    }
    if (cut.size() > 1) plan_.texts.emplace_back(tensor_index_name(kModelStem), tensor_index_text(map, total));
  }

  std::string config_json() const {
    HfConfig config = source_.config();
    config.dtype = plan_.dtype == "fp32" ? "float32" : plan_.dtype == "f16" ? "float16" : "bfloat16";
    config.fp8 = plan_.dtype == "fp8";
    if (!same_) config.fp8_high = named_high_;
    const BlockSize block = config.fp8 ? plan_.block : BlockSize();
    if (!config.fp8 || !same_) {
      config.fp8_ue8m0 = config.fp8 && plan_.powers_of_two;
      config.fp8_block_rows = block.rows, config.fp8_block_cols = block.cols;
    }
    return hf_config_to_json(config);
  }

  const ExportSource& source_;
  const bool same_;
  ExportPlan plan_;
  std::vector<DType> dtypes_;  // of plan_.tensors
  std::set<std::string> used_;
  std::set<std::string> high_;           // parameters that the run multiplies in high precision, though others in FP8
  std::vector<std::string> named_high_;  // the modules of these, under the released names
  int64_t n_cut_ = 0;                    // matrices with partial FP8 blocks beside whole ones
};

}  // namespace

uint64_t ExportPlan::bytes() const {
  uint64_t sum = 0;
  for (const auto& file : files) sum += file.bytes;
  for (const auto& text : texts) sum += text.second.size();
  return sum;
}

std::vector<std::vector<size_t>> ExportPlan::shards() const {
  std::vector<TensorSize> sizes;
  for (const ExportTensor& tensor : tensors) sizes.push_back({tensor.name, tensor.bytes});
  return cut_shards(sizes, shard_bytes);
}

void check_export_dtype(const std::string& to, const std::string& dtype) {
  const std::vector<std::string> offered = to == "gguf"
                                               ? std::vector<std::string>{"bf16", "f16", "fp32", "q8_0", "q4_0"}
                                               : std::vector<std::string>{"bf16", "f16", "fp32", "fp8"};
  check(std::find(offered.begin(), offered.end(), dtype) != offered.end(), ErrorKind::invalid,
        "--to {} does not offer --dtype {}; choose one of {}", to, dtype, fmt::join(offered, ", "));
}

ExportPlan plan_hf(const ExportSource& source, const ExportRequest& request) {
  check_export_dtype("hf", request.dtype);
  return HfPlanner(source, request).plan();
}

}  // namespace hadal
