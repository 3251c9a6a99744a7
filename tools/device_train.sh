#!/bin/sh
# A real training run on a device and generation from it, for tools/device_check.sh:
#   device_train.sh HADAL FOLDER [STEPS]
set -eu
hadal=$1 folder=$2 steps=${3:-300}
root=$(cd "$(dirname "$0")/.." && pwd)
rm -rf "$folder" && mkdir -p "$folder"
cat "$root"/docs/*.md "$root"/ARCHITECTURE.md > "$folder/text.md"
cat > "$folder/small.toml" <<END
[tokenizer]
vocab_size = 512
[model]
hidden_size = 128
n_layers = 3
n_dense_layers = 1
n_heads = 4
q_lora_rank = 96
kv_lora_rank = 64
qk_nope_head_dim = 32
qk_rope_head_dim = 16
v_head_dim = 32
dense_ffn_size = 384
expert_ffn_size = 64
n_routed_experts = 16
n_shared_experts = 1
n_experts_per_token = 4
n_groups = 4
n_limited_groups = 2
n_mtp = 1
max_positions = 128
[data]
sequence_length = 64
[train]
precision = "auto"
steps = $steps
batch_sequences = 4
[validation]
every_steps = 0
max_bytes = 1000
END
"$hadal" train "$folder/small.toml" --text "$folder/text.md" --run "$folder/run" --device cuda:0
"$hadal" generate --model "$folder/run" --device cuda:0 --prompt "A tensor" --max-tokens 40 --seed 1
grep '"kind":"step"' "$folder/run/metrics.jsonl" | tail -n 1
