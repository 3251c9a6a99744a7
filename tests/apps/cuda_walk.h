// The walk on the emulated device through the binary: the demo's model narrowed to run there, and who runs it.
#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "apps/command.h"
#include "apps/small_run.h"
#include "base/files.h"

namespace hadal {

namespace fs = std::filesystem;

inline const std::string kEmulated = HADAL_BINARY_DIR "/tests/hadal_emulated";

// machine: what HADAL_EMULATED says (cuda_emulator/machine.h).
inline CommandResult run_emulated(const std::string& arguments, const std::string& machine = "") {
  const std::string before = machine.empty() ? "" : "HADAL_EMULATED='" + machine + "'";
  return run_hadal(arguments, before, kEmulated);
}

// The demo's model, narrowed.
inline constexpr const char* kNarrow = R"(
[tokenizer]
vocab_size = 280
[data]
sequence_length = 24
holdout = "tail"
holdout_fraction = 0.02
fim_rate = 0.1
[model]
hidden_size = 32
n_layers = 3
n_dense_layers = 1
n_heads = 2
q_lora_rank = 16
kv_lora_rank = 16
qk_nope_head_dim = 8
qk_rope_head_dim = 8
v_head_dim = 8
dense_ffn_size = 48
expert_ffn_size = 16
n_routed_experts = 8
n_shared_experts = 1
n_experts_per_token = 2
n_groups = 4
n_limited_groups = 2
routed_scale = 2.5
n_mtp = 1
max_positions = 64
[optim]
lr = 3e-3
[train]
bias_update_speed = 0.005
steps = 20
batch_sequences = 2
micro_batch_sequences = 1
[checkpoint]
every_steps = 0
[validation]
every_steps = 0
max_bytes = 100
samples = 0
)";

class CudaVerbs : public ::testing::Test {
 protected:
  CudaVerbs() { atomic_write(small.config(), kNarrow); }
  void SetUp() override {
#if defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "an emulated device is too slow under the thread sanitizer";
#endif
  }

  std::string train(const std::string& run, const std::string& options) const {
    return small.train(run, "--quiet " + options);
  }
  // All numbers of a checkpoint.
  std::string state(const std::string& run, const std::string& step = "00000020") const {
    const fs::path at = small.root() / run / "checkpoints" / ("step_" + step);
    return read_file(at / "model.safetensors") + read_file(at / "optimizer.safetensors");
  }
  static std::string q(const fs::path& path) { return SmallRun::quoted(path); }

  SmallRun small;
};

inline constexpr const char* kFp32 = " --set train.precision=fp32";

}  // namespace hadal
