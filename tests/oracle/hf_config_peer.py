"""transformers' own configuration classes as a peer of src/files/exchange/hf_config.

hf_config_peer.py load DIRECTORY OUT_JSONL
    DIRECTORY/0, 1, ... hold a config.json each; one line per directory: what transformers understood
hf_config_peer.py say CONFIGS_JSONL OUT_JSONL
    a config.json per line in; what its class understood per line out, or {"error": what it says}
hf_config_peer.py save DIRECTORY COUNT OUT_JSONL
    random DeepSeek-V2 and V3 configurations written by save_pretrained to DIRECTORY/0, 1, ..., and what they mean
"""
import json
import os
import random
import sys

import torch
import transformers
from transformers.models.deepseek_v2 import modeling_deepseek_v2 as v2
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as v3

transformers.logging.set_verbosity_error()
KEYS = ["vocab_size", "hidden_size", "intermediate_size", "moe_intermediate_size", "num_hidden_layers",
        "num_attention_heads", "num_key_value_heads", "n_shared_experts", "n_routed_experts", "routed_scaling_factor",
        "kv_lora_rank", "q_lora_rank", "qk_rope_head_dim", "v_head_dim", "qk_nope_head_dim", "n_group", "topk_group",
        "num_experts_per_tok", "first_k_dense_replace", "norm_topk_prob", "hidden_act", "max_position_embeddings",
        "rms_norm_eps", "bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings", "attention_bias",
        "initializer_range"]


def meaning(config):
    """Fields as transformers holds them, and the rotary numbers as its own layers compute them."""
    code, prefix = (v2, "DeepseekV2") if config.model_type == "deepseek_v2" else (v3, "DeepseekV3")
    rotary = getattr(code, prefix + "RotaryEmbedding")(config)
    with torch.device("meta"):
        attention = getattr(code, prefix + "Attention")(config, 0)
    said = {key: getattr(config, key) for key in KEYS}
    said["class"] = type(config).__name__
    said["architectures"] = config.architectures
    said["dtype"] = str(config.dtype).removeprefix("torch.")
    said["topk_method"] = getattr(config, "topk_method", None)
    said["mtp"] = getattr(config, "num_nextn_predict_layers", 0)
    said["quantization"] = getattr(config, "quantization_config", None)
    said["inv_freq"] = rotary.inv_freq.double().tolist()
    said["rope_multiplier"] = float(rotary.attention_scaling)
    said["softmax_scale"] = float(attention.scaling)
    said["latent_norm_eps"] = float(attention.kv_a_layernorm.variance_epsilon)
    return said


def load(directory, out):
    with open(out, "w", encoding="utf-8") as file:
        for n in range(len(os.listdir(directory))):
            config = transformers.AutoConfig.from_pretrained(os.path.join(directory, str(n)))
            assert hasattr(transformers, config.architectures[0]), config.architectures
            file.write(json.dumps(meaning(config)) + "\n")


def say(configs, out):
    with open(configs, encoding="utf-8") as lines, open(out, "w", encoding="utf-8") as file:
        for line in lines:
            fields = json.loads(line)
            kind = str(fields.pop("model_type", None) or fields["architectures"][0]).lower().replace("_", "")
            family = transformers.DeepseekV2Config if kind.startswith("deepseekv2") else transformers.DeepseekV3Config
            try:
                said = json.dumps(meaning(family.from_dict(fields)), allow_nan=False)
            except Exception as error:
                said = json.dumps({"error": f"{type(error).__name__}: {error}"[:300]})
            file.write(said + "\n")


def random_rope(dice):
    theta = dice.choice([500.0, 10000.0, 50000.0])
    if dice.random() < 0.4:
        return {"rope_type": "default", "rope_theta": theta}
    rope = {"rope_type": "yarn", "rope_theta": theta, "factor": dice.choice([1.5, 4.0, 40.0]),
            "original_max_position_embeddings": dice.choice([32, 64, 4096])}
    if dice.random() < 0.5:
        rope |= {"beta_fast": dice.choice([8.0, 32]), "beta_slow": 1}
    mscale = dice.choice(["none", "both", "unequal", "stated"])
    if mscale == "both":
        rope |= {"mscale": 0.707, "mscale_all_dim": 0.707}
    if mscale == "unequal":
        rope |= {"mscale": 1.0, "mscale_all_dim": 0.5}
    if mscale == "stated":
        rope |= {"attention_factor": 1.25, "mscale_all_dim": dice.choice([0.0, 0.8])}
    return rope


def random_config(dice):
    heads, groups = dice.randint(1, 5), dice.choice([1, 2, 4])
    limited, per_group = dice.randint(1, groups), dice.randint(2, 4)
    fields = dict(
        vocab_size=dice.randint(5, 300), hidden_size=heads * dice.randint(2, 20), intermediate_size=dice.randint(1, 99),
        moe_intermediate_size=dice.randint(1, 60), num_hidden_layers=dice.randint(2, 4), num_attention_heads=heads,
        num_key_value_heads=heads, n_shared_experts=dice.randint(0, 2), n_routed_experts=groups * per_group,
        routed_scaling_factor=dice.choice([1.0, 2.5, 16.0]), kv_lora_rank=dice.randint(1, 40),
        q_lora_rank=dice.choice([None, 7, 24]), qk_rope_head_dim=2 * dice.randint(1, 8), v_head_dim=dice.randint(1, 30),
        qk_nope_head_dim=dice.randint(1, 30), n_group=groups, topk_group=limited,
        num_experts_per_tok=dice.randint(1, limited * per_group), first_k_dense_replace=dice.randint(0, 2),
        max_position_embeddings=dice.choice([64, 163840]), rms_norm_eps=dice.choice([1e-6, 1e-5]),
        bos_token_id=dice.choice([None, 0, 3]), eos_token_id=dice.choice([None, 1, [1, 4]]),
        tie_word_embeddings=dice.random() < 0.5, initializer_range=dice.choice([0.02, 0.1]),
        rope_parameters=random_rope(dice), dtype=dice.choice(["float32", "bfloat16", "float16"]))
    if dice.random() < 0.5:
        return transformers.DeepseekV2Config(topk_method=dice.choice(["greedy", "group_limited_greedy"]), **fields)
    return transformers.DeepseekV3Config(norm_topk_prob=dice.random() < 0.5, num_mtp_layers=dice.randint(0, 2),
                                         **fields)


def save(directory, count, out):
    dice = random.Random(4)
    with open(out, "w", encoding="utf-8") as file:
        for n in range(count):
            config = random_config(dice)
            config.save_pretrained(os.path.join(directory, str(n)))
            file.write(json.dumps(meaning(config)) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "load":
        load(sys.argv[2], sys.argv[3])
    elif sys.argv[1] == "say":
        say(sys.argv[2], sys.argv[3])
    else:
        save(sys.argv[2], int(sys.argv[3]), sys.argv[4])
