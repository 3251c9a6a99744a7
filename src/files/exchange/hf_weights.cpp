// From the list in arch to stored names, and everything that can be wrong on the way.
#include "exchange/hf_weights.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <set>

#include "base/error.h"
#include "base/text_format.h"

namespace hadal {
namespace {

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";

// "model.layers.12.self_attn..." -> 12; -1 for other names.
int64_t layer_of(const std::string& name) {
  constexpr std::string_view kPrefix = "model.layers.";
  if (name.rfind(kPrefix, 0) != 0) return -1;
  int64_t layer = -1;
  const char* end = name.data() + name.size();
  const auto parsed = std::from_chars(name.data() + kPrefix.size(), end, layer);
  return parsed.ec == std::errc() && parsed.ptr != end && *parsed.ptr == '.' ? layer : -1;
}

bool is_weight_type(DType dtype) {
  return dtype == DType::f64 || dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16;
}

}  // namespace

struct HfWeights::Mapping {
  HfWeights& weights;
  const TensorFiles& files;
  const HfConfig& config;
  const FileCheck file_check;
  std::set<std::string> used = {}, missing = {};
  const std::string where = files.directory().string();

  void run(const std::vector<ParameterSpec>& specs) {
    for (const auto& spec : specs) map(spec);
    if (!missing.empty()) {
      std::string more;
      if (missing.size() > 1) more = fmt::format(", and {} more", missing.size() - 1);
      fail(ErrorKind::corrupt, "{}: tensor '{}' is missing, which the model of its configuration needs{}", where,
           *missing.begin(), more);
    }
    for (const auto& name : files.names())
      if (used.count(name) == 0) explain_rest(name);
    if (inv_freq > 0)
      weights.notices_.push_back(fmt::format(
          "{} tensors '...rotary_emb.inv_freq' are not used: rotary frequencies follow from config.json", inv_freq));
  }

  int64_t inv_freq = 0;

  void map(const ParameterSpec& spec) {
    std::vector<StoredWeight> list;
    if (spec.kind != ParameterKind::routed_expert) {
      Shape shape = spec.shape;
      const int64_t rows = shape.size() == 2 ? shape[0] : 1;
      if (take(spec.hf_name, shape, list)) list.back().rows = rows;
      if (config.half_split && !list.empty()) list.back().half_split = spec.rotated_head;
    } else if (!files.has(spec.hf_name_of(0)) && map_fused(spec, list)) {
    } else {
      for (int64_t expert = 0; expert < spec.n_experts(); ++expert) {
        if (!take(spec.hf_name_of(expert), {spec.shape[1], spec.shape[2]}, list)) continue;
        list.back().expert = expert;
        list.back().rows = spec.shape[1];
      }
    }
    weights.stored_[spec.name] = std::move(list);
  }

  // gate_up_proj [E, 2F, H] holds gate above up; down_proj is stacked as ours is.
  bool map_fused(const ParameterSpec& spec, std::vector<StoredWeight>& list) {
    const std::string prefix = spec.hf_name.substr(0, spec.hf_name.find("{e}"));
    const bool down = spec.hf_name.ends_with("down_proj.weight"), up = spec.hf_name.ends_with("up_proj.weight");
    const std::string name = prefix + (down ? "down_proj" : "gate_up_proj");
    if (!files.has(name)) return false;
    const int64_t experts = spec.shape[0], rows = spec.shape[1], per_expert = down ? rows : 2 * rows;
    check(files.entry(name).dtype != DType::f8_e4m3, ErrorKind::unsupported,
          "{}: tensor '{}' is fused and FP8; FP8 experts are understood one by one, as '{}'", where, name,
          spec.hf_name_of(0));
    std::vector<StoredWeight> one;
    take(name, {experts, per_expert, spec.shape[2]}, one);
    for (int64_t expert = 0; expert < experts; ++expert)
      list.push_back({name, "", expert, expert * per_expert + (up ? rows : 0), rows});
    return true;
  }

  // Notes what is wrong, or appends the tensor to `list`.
  bool take(const std::string& name, const Shape& shape, std::vector<StoredWeight>& list) {
    if (!files.has(name)) {
      missing.insert(name);
      return false;
    }
    const auto& entry = files.entry(name);
    used.insert(name);
    check(entry.shape == shape, ErrorKind::corrupt, "{}: tensor '{}' has shape {}, the model needs {}", where, name,
          shape_text(entry.shape), shape_text(shape));
    StoredWeight stored;
    stored.name = name;
    if (entry.dtype == DType::f8_e4m3)
      stored.scale_name = take_scale(name, shape);
    else
      check(is_weight_type(entry.dtype), ErrorKind::unsupported,
            "{}: tensor '{}' is {}; weights may be F64, F32, BF16, F16 or F8_E4M3 with scales", where, name,
            dtype_name(entry.dtype));
    list.push_back(std::move(stored));
    return true;
  }

  std::string take_scale(const std::string& name, const Shape& shape) {
    check(config.fp8, ErrorKind::corrupt,
          "{}: tensor '{}' is F8_E4M3, but config.json has no quantization_config with quant_method \"fp8\"", where,
          name);
    check(shape.size() == 2, ErrorKind::unsupported, "{}: tensor '{}' of shape {} is F8_E4M3; only matrices may be",
          where, name, shape_text(shape));
    const std::string scale = name + "_scale_inv";
    check(files.has(scale), ErrorKind::corrupt, "{}: tensor '{}' is missing: '{}' is F8_E4M3 and needs its scales",
          where, scale, name);
    used.insert(scale);
    const auto& entry = files.entry(scale);
    const Shape grid = scale_shape(shape, weights.block_);
    check(entry.shape == grid, ErrorKind::corrupt, "{}: tensor '{}' has shape {}; blocks of {} x {} of '{}' {} need {}",
          where, scale, shape_text(entry.shape), weights.block_.rows, weights.block_.cols, name, shape_text(shape),
          shape_text(grid));
    const bool typed = entry.dtype == DType::f32 || entry.dtype == DType::bf16 || entry.dtype == DType::f8_e8m0;
    check(typed, ErrorKind::unsupported, "{}: tensor '{}' is {}; scales may be F32, BF16 or F8_E8M0", where, scale,
          dtype_name(entry.dtype));
    check_scales(files.tensor(scale), scale);
    return scale;
  }

  // A tensor that no parameter took: known, or refused with the reason.
  void explain_rest(const std::string& name) {
    const auto& model = config.model;
    const int64_t layer = layer_of(name), end = model.n_layers + model.n_mtp;
    if (name.ends_with("rotary_emb.inv_freq")) {
      ++inv_freq;
      return;
    }
    if (shape_count(files.entry(name).shape) == 0) return;  // transformers stores shared experts of width 0
    const std::string head = model.tie_embeddings ? kEmbedding : kHead;
    if (layer >= model.n_layers && layer < end) {
      const std::string rest = name.substr(name.find('.', sizeof("model.layers.") - 1));
      if (rest == ".embed_tokens.weight") return take_copy(name, kEmbedding, "every MTP module shares the embedding");
      if (rest == ".shared_head.head.weight") return take_copy(name, head, "every MTP module shares the head");
    }
    if (name == kHead && model.tie_embeddings)
      return take_copy(name, kEmbedding, "config.json says tie_word_embeddings = true");
    check(layer < end, ErrorKind::corrupt,
          "{}: tensor '{}' belongs to layer {}, but config.json says num_hidden_layers = {} and "
          "num_nextn_predict_layers = {}; if these are MTP modules, say how many there",
          where, name, layer, model.n_layers, model.n_mtp);
    const std::string weight = name.substr(0, name.size() - std::min<size_t>(name.size(), 10));
    check(!name.ends_with("_scale_inv") || !files.has(weight), ErrorKind::corrupt,
          "{}: tensor '{}' holds scales, but '{}' is {}, which has none", where, name, weight,
          files.has(weight) ? dtype_name(files.entry(weight).dtype) : "");
    std::vector<std::string> known(used.begin(), used.end());
    const std::string near = nearest_name(name, known, 6);
    fail(ErrorKind::corrupt, "{}: tensor '{}' has no place in the model of its configuration{}", where, name,
         near.empty() ? "" : "; the nearest name with one is '" + near + "'");
  }

  void take_copy(const std::string& name, const std::string& original, const char* reason) {
    const auto &copy = files.entry(name), &main = files.entry(original);
    bool same = copy.dtype == main.dtype && copy.shape == main.shape;
    if (same && file_check == FileCheck::contents)
      same = std::memcmp(files.tensor(name).raw(), files.tensor(original).raw(), copy.end - copy.begin) == 0;
    files.check_intact();
    check(same, ErrorKind::corrupt,
          "{}: tensor '{}' ({} {}) must equal '{}' ({} {}), of which it is a copy ({}); it does not", where, name,
          dtype_name(copy.dtype), shape_text(copy.shape), original, dtype_name(main.dtype), shape_text(main.shape),
          reason);
    weights.copies_[name] = original;
  }
};

HfWeights::HfWeights(std::shared_ptr<const TensorFiles> files, const HfConfig& config,
                     const std::vector<ParameterSpec>& specs, FileCheck file_check)
    : files_(std::move(files)), block_{config.fp8_block_rows, config.fp8_block_cols} {
  Mapping{*this, *files_, config, file_check}.run(specs);
}

HfWeights::HfWeights(const HfWeights& weights, const TensorFiles& averages, const std::vector<ParameterSpec>& specs)
    : block_(weights.block_), notices_(weights.notices_) {
  auto files = std::make_shared<TensorFiles>();
  for (const auto& spec : specs) {
    if (!spec.trained) {
      stored_[spec.name] = weights.stored(spec);
      for (const StoredWeight& weight : weights.stored(spec)) files->add(weights.files(), weight.name);
      continue;
    }
    const std::string name = average_name(spec);
    files->add(averages, name);
    const bool stacked = spec.kind == ParameterKind::routed_expert;
    const int64_t rows = stacked ? spec.shape[1] : spec.shape.size() == 2 ? spec.shape[0] : 1;
    for (int64_t expert = 0; expert < (stacked ? spec.n_experts() : 1); ++expert)
      stored_[spec.name].push_back({name, "", stacked ? expert : -1, expert * rows, rows});
  }
  files_ = std::move(files);
}

const std::vector<StoredWeight>& HfWeights::stored(const ParameterSpec& spec) const {
  const auto found = stored_.find(spec.name);
  check(found != stored_.end(), ErrorKind::internal, "parameter '{}' was not mapped", spec.name);
  return found->second;
}

Tensor HfWeights::view(const ParameterSpec& spec, DType dtype) const {
  const auto& list = stored(spec);
  if (list.size() != 1 || list[0].expert >= 0 || list[0].half_split > 0 || files_->entry(list[0].name).dtype != dtype)
    return {};
  return files_->tensor(list[0].name);
}

bool HfWeights::is_stored_as_codes(const ParameterSpec& spec) const {
  const auto& list = stored(spec);
  return block_.rows == kSquareTile.rows && block_.cols == kSquareTile.cols &&
         std::all_of(list.begin(), list.end(),
                     [](const StoredWeight& one) { return !one.scale_name.empty() && one.half_split == 0; });
}

void drop_absent_mtp(HfConfig& config, const TensorFiles& files) {
  if (config.model.n_mtp == 0) return;
  for (const auto& name : files.names())
    if (layer_of(name) >= config.model.n_layers && !name.ends_with("rotary_emb.inv_freq")) return;
  if (!config.mtp_stated) {
    config.model.n_mtp = 0;
    return;
  }
  config.notices.push_back(fmt::format(
      "config.json says num_nextn_predict_layers = {}, but no tensor of a multi-token prediction module is stored: the "
      "model is used without",
      config.model.n_mtp));
  config.model.n_mtp = 0;
}

}  // namespace hadal
