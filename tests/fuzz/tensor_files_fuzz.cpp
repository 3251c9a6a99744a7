// room: exchange
// libFuzzer: a directory of two shards and an index. The first line of the input is the index (empty: none, one file),
// the second and the third are the shards' headers, whose lengths are put right, and the rest is their data. Only Error
// may come out; every tensor that is offered can be read to its last byte, through the map and from the file; and the
// directory as a model of a small configuration is mapped or refused.
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>

#include "base/error.h"
#include "exchange/hf_weights.h"
#include "scratch_folder.h"

namespace {

namespace fs = std::filesystem;
using namespace hadal;

std::string take_line(std::string& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  const std::string line = text.substr(0, end);
  text.erase(0, end + 1);
  return line;
}

void write_shard(const fs::path& path, const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  write(path, bytes + header + data);
}

HfConfig small() {
  HfConfig config;
  config.fp8 = true;
  auto& m = config.model;
  m.vocab_size = 2;
  m.hidden_size = m.n_heads = m.n_layers = m.kv_lora_rank = m.qk_nope_head_dim = m.v_head_dim = m.dense_ffn_size = 1;
  m.qk_rope_head_dim = 2;
  m.n_routed_experts = m.n_shared_experts = m.n_mtp = 0;
  m.tie_embeddings = true;
  return config;
}

void read_all(const fs::path& folder) {
  auto files = std::make_shared<const TensorFiles>(TensorFiles::open(folder));
  unsigned sum = 0;
  for (const auto& name : files->names()) {
    const Tensor tensor = files->tensor(name);
    std::string copy(size_t(tensor.bytes()), '\0');
    files->read_part(name, 0, 0, Tensor::wrap(copy.data(), tensor.dtype(), tensor.shape()));
    if (std::memcmp(copy.data(), tensor.raw(), copy.size()) != 0) std::abort();
    for (char c : copy) sum += unsigned(c);
  }
  files->check_intact();
  volatile unsigned sink = sum;
  (void)sink;
  const HfConfig config = small();
  static const OwnedExec exec(1, Isa::reference);
  const auto specs = parameter_list(config.model);
  const HfWeights weights(files, config, specs);
  for (const auto& spec : specs) weights.read(exec.exec, spec, Tensor::zeros(exec.exec, DType::f32, spec.shape));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Folder folder;
  std::string rest(reinterpret_cast<const char*>(data), size);
  const std::string index = take_line(rest), first = take_line(rest), second = take_line(rest);
  std::error_code ignored;
  fs::remove(folder.path / "model.safetensors.index.json", ignored);
  fs::remove(folder.path / "model.safetensors", ignored);
  write_shard(folder.path / (index.empty() ? "model.safetensors" : "a.safetensors"), first,
              rest.substr(0, rest.size() / 2));
  write_shard(folder.path / "b.safetensors", second, rest.substr(rest.size() / 2));
  if (!index.empty()) write(folder.path / "model.safetensors.index.json", index);
  try {
    read_all(folder.path);
  } catch (const Error&) {
  }
  return 0;
}
