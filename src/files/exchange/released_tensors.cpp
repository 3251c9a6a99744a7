#include "exchange/released_tensors.h"

#include <algorithm>

#include "base/error.h"
#include "model/weight_format.h"

namespace hadal {

namespace {

struct Storage {
  const char* name;
  int64_t bytes;
};

Storage plain_storage(const std::string& dtype) {
  if (dtype == "float64") return {"F64", 8};
  if (dtype == "float32") return {"F32", 4};
  if (dtype == "float16") return {"F16", 2};
  return {"BF16", 2};
}

class Layout {
 public:
  explicit Layout(const HfConfig& config) : config_(config), plain_(plain_storage(config.dtype)) {}

  std::vector<ReleasedTensor> build() {
    const auto specs = parameter_list(config_.model);
    for (size_t i = 0; i < specs.size(); ++i) {
      put(specs[i]);
      const bool ends_layer = i + 1 == specs.size() || specs[i + 1].layer != specs[i].layer;
      if (ends_layer && specs[i].layer >= config_.model.n_layers) repeat_shared(specs[i].layer);
    }
    return std::move(list_);
  }

 private:
  void put(const ParameterSpec& spec) {
    if (spec.kind != ParameterKind::routed_expert) return weight(spec, spec.hf_name, spec.shape);
    for (int64_t e = 0; e < spec.n_experts(); ++e) weight(spec, spec.hf_name_of(e), {spec.shape[1], spec.shape[2]});
  }

  void weight(const ParameterSpec& spec, const std::string& name, const std::vector<int64_t>& shape) {
    if (config_.fp8 && is_stored_as_fp8(spec)) {
      tensor(name, {"F8_E4M3", 1}, shape, spec);
      const auto blocks = [](int64_t size, int64_t block) { return (size + block - 1) / block; };
      tensor(name + "_scale_inv", {"F32", 4},
             {blocks(shape[0], config_.fp8_block_rows), blocks(shape[1], config_.fp8_block_cols)}, {});
    } else {
      tensor(name, spec.kind == ParameterKind::router_bias ? Storage{"F32", 4} : plain_, shape, spec);
    }
  }

  void repeat_shared(int64_t layer) {
    const auto& m = config_.model;
    for (const char* name : {"embed_tokens.weight", "shared_head.head.weight"})
      tensor(fmt::format("model.layers.{}.{}", layer, name), plain_, {m.vocab_size, m.hidden_size}, {});
  }

  void tensor(const std::string& name, Storage storage, const std::vector<int64_t>& shape, const ParameterSpec& spec) {
    ReleasedTensor tensor{name, storage.name, shape, storage.bytes, spec.name, spec.init_std};
    for (int64_t size : shape) tensor.bytes *= size;
    list_.push_back(std::move(tensor));
  }

  const HfConfig& config_;
  Storage plain_;
  std::vector<ReleasedTensor> list_;
};

}  // namespace

bool is_stored_as_fp8(const ParameterSpec& spec) { return is_projection(spec); }

std::vector<ReleasedTensor> released_tensors(const HfConfig& config) { return Layout(config).build(); }

}  // namespace hadal
