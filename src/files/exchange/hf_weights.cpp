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
  std::set<std::string> used, missing;
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
    const bool same = copy.dtype == main.dtype && copy.shape == main.shape &&
                      std::memcmp(files.tensor(name).raw(), files.tensor(original).raw(), copy.end - copy.begin) == 0;
    files.check_intact();
    check(same, ErrorKind::corrupt,
          "{}: tensor '{}' ({} {}) must equal '{}' ({} {}), of which it is a copy ({}); it does not", where, name,
          dtype_name(copy.dtype), shape_text(copy.shape), original, dtype_name(main.dtype), shape_text(main.shape),
          reason);
    weights.copies_[name] = original;
  }
};

HfWeights::HfWeights(std::shared_ptr<const TensorFiles> files, const HfConfig& config,
                     const std::vector<ParameterSpec>& specs)
    : files_(std::move(files)), block_{config.fp8_block_rows, config.fp8_block_cols} {
  Mapping{*this, *files_, config, {}, {}}.run(specs);
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

namespace {

constexpr int64_t kChunkBytes = 1 << 20;
constexpr int64_t kTaskBytes = 16 << 20;  // many large pages: two threads in one page would both clear it

struct Chunk {
  const StoredWeight* stored;
  int64_t first, count;  // rows of the stored weight's part
  Tensor destination;    // [count, cols]; of heads in Llama's order the whole parameter, whose rows are put in ours
};

// About a megabyte each, cut at block borders.
std::vector<Chunk> chunks_of(const std::vector<StoredWeight>& list, const Tensor& destination, int64_t block_rows) {
  std::vector<Chunk> chunks;
  const int64_t cols = destination.cols();
  const int64_t wanted = kChunkBytes / std::max<int64_t>(1, cols * dtype_bytes(destination.dtype()));
  const int64_t step = std::max<int64_t>(1, wanted / block_rows) * block_rows;
  for (const auto& stored : list) {
    const Tensor whole = stored.expert < 0 ? destination : destination.slice(stored.expert);
    for (int64_t row = 0; row < stored.rows; row += step) {
      const int64_t count = std::min(step, stored.rows - row);
      chunks.push_back({&stored, row, count, stored.half_split > 0 ? whole : whole.row_range(row, count)});
    }
  }
  return chunks;
}

// Where tasks of neighbouring chunks begin, each for one thread; the last entry is the end.
std::vector<size_t> tasks_of(const std::vector<Chunk>& chunks, int n_threads) {
  int64_t total = 0, in_task = 0;
  const auto bytes_of = [](const Chunk& chunk) {
    return chunk.count * chunk.destination.cols() * dtype_bytes(chunk.destination.dtype());
  };
  for (const auto& chunk : chunks) total += bytes_of(chunk);
  const int64_t wanted = std::min(kTaskBytes, total / n_threads + 1);
  std::vector<size_t> begins = {0};
  for (size_t i = 0; i < chunks.size(); ++i) {
    in_task += bytes_of(chunks[i]);
    if (in_task < wanted && i + 1 < chunks.size()) continue;
    begins.push_back(i + 1);
    in_task = 0;
  }
  return begins;
}

}  // namespace

void HfWeights::read(const Exec& exec, const ParameterSpec& spec, const Tensor& destination) const {
  check(destination.shape() == spec.shape && destination.contiguous(), ErrorKind::internal,
        "'{}' of shape {} is read into {}", spec.name, shape_text(spec.shape), shape_text(destination.shape()));
  if (destination.count() == 0) return;
  if (!destination.on_host()) {
    const Exec host = exec.on_host();
    const Tensor read_here = Tensor::empty(host, destination.dtype(), destination.shape());
    read(host, spec, read_here);
    return destination.copy_from(read_here);
  }
  const auto chunks = chunks_of(stored(spec), destination, block_.rows);
  const auto tasks = tasks_of(chunks, exec.compute->n_threads());
  std::vector<std::vector<uint8_t>> buffers(size_t(exec.compute->n_threads()));
  const auto read_rows = [&](const Chunk& chunk, const Tensor& to, int worker) {
    const StoredWeight& stored = *chunk.stored;
    const DType dtype = files_->entry(stored.name).dtype;
    const int64_t first = stored.first_row + chunk.first, cols = to.cols();
    if (dtype == to.dtype()) return files_->read_rows(stored.name, first, chunk.count, to.raw());
    auto& buffer = buffers[size_t(worker)];
    buffer.resize(std::max(buffer.size(), size_t(chunk.count * cols * dtype_bytes(dtype))));
    files_->read_rows(stored.name, first, chunk.count, buffer.data());
    const Tensor source = Tensor::wrap(buffer.data(), dtype, {chunk.count, cols});
    if (stored.scale_name.empty()) return to.copy_from(exec, source);
    const Tensor scales = files_->tensor(stored.scale_name);
    const int64_t block = first / block_.rows, n_blocks = (chunk.count + block_.rows - 1) / block_.rows;
    dequantise_blocks(exec, source, scales.row_range(block, n_blocks), to, block_);
  };
  const auto read_chunk = [&](const Chunk& chunk, int worker) {
    const int64_t head = chunk.stored->half_split;
    if (head == 0) return read_rows(chunk, chunk.destination, worker);
    const Tensor rows = Tensor::empty(exec, destination.dtype(), {chunk.count, destination.cols()});
    read_rows(chunk, rows, worker);
    for (int64_t i = 0; i < chunk.count; ++i)
      chunk.destination.row_range(row_of_half_split(chunk.first + i, head), 1).copy_from(rows.row_range(i, 1));
  };
  exec.compute->parallel_for(int64_t(tasks.size()) - 1, [&](int64_t task, int worker) {
    for (size_t i = tasks[size_t(task)]; i < tasks[size_t(task) + 1]; ++i) read_chunk(chunks[i], worker);
  });
}

bool HfWeights::is_stored_as_codes(const ParameterSpec& spec) const {
  const auto& list = stored(spec);
  return block_.rows == kSquareTile.rows && block_.cols == kSquareTile.cols &&
         std::all_of(list.begin(), list.end(),
                     [](const StoredWeight& one) { return !one.scale_name.empty() && one.half_split == 0; });
}

std::optional<Quantised> HfWeights::read_codes(const Exec& exec, const ParameterSpec& spec, DType source) const {
  if (!is_stored_as_codes(spec)) return std::nullopt;
  const auto& list = stored(spec);
  Quantised result = Quantised::empty(exec, spec.shape, kSquareTile, source);
  const bool stacked = spec.shape.size() == 3;
  exec.compute->parallel_for(int64_t(list.size()), [&](int64_t i, int) {
    const StoredWeight& one = list[size_t(i)];
    const Quantised to = stacked ? result.slice(one.expert) : result;
    files_->read_rows(one.name, one.first_row, one.rows, to.codes.raw());
    to.scales.copy_from(files_->tensor(one.scale_name));
  });
  return result;
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
