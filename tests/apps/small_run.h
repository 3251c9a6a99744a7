// A training run small enough for tests: made-up text, a tiny model with every feature on (MoE, MTP, query latent,
// ramp, EMA, BF16 moments, asynchronous checkpoints), in a folder of its own whose name has a space and a letter beyond
// ASCII.
#pragma once
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>

#include "base/files.h"
#include "base/hash.h"
#include "base/random.h"

namespace hadal {

inline std::string small_text(int64_t words, uint64_t seed = 1) {
  static const char* const kWords[] = {"the",  "sea",  "is", "deep",  "and", "cold", "a",     "light",
                                       "goes", "down", "to", "where", "no",  "wind", "blows", "fish"};
  RandomStream random{seed, stream_id("test.text"), 0};
  std::string text;
  for (int64_t i = 0; i < words; ++i) {
    text += kWords[random.below(16)];
    text += random.below(9) == 0 ? ".\n" : " ";
  }
  return text;
}

// Name -> SHA-256 of every file below a directory but locks.
inline std::map<std::string, std::string> all_files(const std::filesystem::path& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory))
    if (entry.is_regular_file() && entry.path().filename() != "lock")
      files[std::filesystem::relative(entry.path(), directory).string()] = sha256_hex(read_file(entry.path()));
  return files;
}

class SmallRun {
 public:
  SmallRun() {
    std::string folder = (std::filesystem::temp_directory_path() / "hadal rün XXXXXX").string();
    if (mkdtemp(folder.data()) == nullptr) std::abort();
    root_ = folder;
    atomic_write(text(), small_text(6000));
    atomic_write(config(), R"(
[tokenizer]
vocab_size = 300
[data]
sequence_length = 32
holdout = "tail"
holdout_fraction = 0.05
fim_rate = 0.2
[model]
hidden_size = 24
n_layers = 2
n_heads = 2
q_lora_rank = 12
kv_lora_rank = 8
qk_nope_head_dim = 6
qk_rope_head_dim = 4
v_head_dim = 5
dense_ffn_size = 40
expert_ffn_size = 12
n_routed_experts = 4
n_experts_per_token = 2
n_mtp = 1
max_positions = 64
[optim]
moments = "bf16"
ema_decay = 0.9
[train]
precision = "bf16"
steps = 24
batch_sequences = 6
micro_batch_sequences = 2
batch_ramp = [{ shape = "constant", to = 0.34, until = 2 }, { shape = "linear", to = 1.0, until = 12 }]
[checkpoint]
every_steps = 1
keep = 2
[validation]
every_steps = 10
samples = 1
sample_tokens = 4
)");
  }
  ~SmallRun() {
    std::error_code ignored;
    std::filesystem::permissions(root_, std::filesystem::perms::owner_all, std::filesystem::perm_options::add, ignored);
    std::filesystem::remove_all(root_, ignored);
  }
  SmallRun(const SmallRun&) = delete;
  SmallRun& operator=(const SmallRun&) = delete;

  std::filesystem::path root() const { return root_; }
  std::filesystem::path text() const { return root_ / "täxt file.txt"; }
  std::filesystem::path config() const { return root_ / "small.toml"; }
  std::filesystem::path run(const std::string& name = "run") const { return root_ / name; }

  static std::string quoted(const std::filesystem::path& path) { return "'" + path.string() + "'"; }
  // Shell text for `hadal ...`
  std::string train(const std::string& name = "run", const std::string& more = "") const {
    return "train " + quoted(config()) + " --text " + quoted(text()) + " --run " + quoted(run(name)) + " --quiet " +
           more;
  }

 private:
  std::filesystem::path root_;
};

}  // namespace hadal
