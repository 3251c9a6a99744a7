"""Small random models in the layout of the released checkpoints: names and shapes, FP8 blocks, config.json, shards."""
import json
import math
import pathlib

import torch
from safetensors.torch import save_file

BLOCK = 128
FP8 = torch.float8_e4m3fn

COMMON = dict(vocab_size=384, hidden_size=160, num_attention_heads=4, kv_lora_rank=64, qk_nope_head_dim=32,
              qk_rope_head_dim=16, v_head_dim=32, intermediate_size=224, moe_intermediate_size=64, n_routed_experts=8,
              num_experts_per_tok=3, first_k_dense_replace=1, max_position_embeddings=256, rope_theta=10000.0,
              rms_norm_eps=1e-6, hidden_act="silu", attention_bias=False, moe_layer_freq=1, tie_word_embeddings=False,
              bos_token_id=None, eos_token_id=None, torch_dtype="bfloat16", n_group=1, topk_group=1)
YARN = dict(type="yarn", factor=4, original_max_position_embeddings=64, beta_fast=32, beta_slow=1)
KINDS = {
    "v3": dict(COMMON, architectures=["DeepseekV3ForCausalLM"], model_type="deepseek_v3", num_hidden_layers=3,
               q_lora_rank=96, n_group=4, topk_group=2, topk_method="noaux_tc", scoring_func="sigmoid",
               norm_topk_prob=True, routed_scaling_factor=2.5, n_shared_experts=1, num_nextn_predict_layers=1,
               rope_scaling=dict(YARN, mscale=1.0, mscale_all_dim=1.0)),
    "lite": dict(COMMON, architectures=["DeepseekV2ForCausalLM"], model_type="deepseek_v2", num_hidden_layers=2,
                 q_lora_rank=None, topk_method="greedy", scoring_func="softmax", norm_topk_prob=False,
                 routed_scaling_factor=1.0, n_shared_experts=2,
                 rope_scaling=dict(YARN, mscale=0.707, mscale_all_dim=0.707)),
    "odd": dict(COMMON, architectures=["DeepseekV3ForCausalLM"], model_type="deepseek_v3", num_hidden_layers=2,
                q_lora_rank=None, topk_method="noaux_tc", scoring_func="sigmoid", norm_topk_prob=True,
                routed_scaling_factor=2.446, n_shared_experts=0, hidden_size=100, intermediate_size=130,
                moe_intermediate_size=20, kv_lora_rank=36, qk_nope_head_dim=12, v_head_dim=20, vocab_size=301,
                n_routed_experts=5, rms_norm_eps=1e-5, first_k_dense_replace=0),
}
KINDS["even"] = dict(KINDS["v3"], hidden_size=256, intermediate_size=384, kv_lora_rank=48, qk_nope_head_dim=48,
                     v_head_dim=16)  # every FP8 block is whole, or the only one in its direction
KINDS["wide"] = dict(KINDS["v3"], vocab_size=129280, hidden_size=64,
                     num_hidden_layers=2)  # rows for the released tokenizer


def shapes(c):
    """Name -> shape of the released layout, MTP layers with their copies included."""
    h, heads = c["hidden_size"], c["num_attention_heads"]
    q_out = heads * (c["qk_nope_head_dim"] + c["qk_rope_head_dim"])
    out = {"model.embed_tokens.weight": [c["vocab_size"], h]}
    n_mtp = c.get("num_nextn_predict_layers", 0)
    for layer in range(c["num_hidden_layers"] + n_mtp):
        p = f"model.layers.{layer}."
        a = p + "self_attn."
        if c["q_lora_rank"]:
            out[a + "q_a_proj.weight"] = [c["q_lora_rank"], h]
            out[a + "q_a_layernorm.weight"] = [c["q_lora_rank"]]
            out[a + "q_b_proj.weight"] = [q_out, c["q_lora_rank"]]
        else:
            out[a + "q_proj.weight"] = [q_out, h]
        out[a + "kv_a_proj_with_mqa.weight"] = [c["kv_lora_rank"] + c["qk_rope_head_dim"], h]
        out[a + "kv_a_layernorm.weight"] = [c["kv_lora_rank"]]
        out[a + "kv_b_proj.weight"] = [heads * (c["qk_nope_head_dim"] + c["v_head_dim"]), c["kv_lora_rank"]]
        out[a + "o_proj.weight"] = [h, heads * c["v_head_dim"]]
        out[p + "input_layernorm.weight"] = out[p + "post_attention_layernorm.weight"] = [h]

        def ffn(prefix, size):
            out[prefix + "gate_proj.weight"] = out[prefix + "up_proj.weight"] = [size, h]
            out[prefix + "down_proj.weight"] = [h, size]

        if layer < c["first_k_dense_replace"]:
            ffn(p + "mlp.", c["intermediate_size"])
        else:
            out[p + "mlp.gate.weight"] = [c["n_routed_experts"], h]
            if c["topk_method"] == "noaux_tc":
                out[p + "mlp.gate.e_score_correction_bias"] = [c["n_routed_experts"]]
            for e in range(c["n_routed_experts"]):
                ffn(f"{p}mlp.experts.{e}.", c["moe_intermediate_size"])
            if c["n_shared_experts"]:
                ffn(p + "mlp.shared_experts.", c["n_shared_experts"] * c["moe_intermediate_size"])
        if layer >= c["num_hidden_layers"]:
            for name in ("enorm", "hnorm", "shared_head.norm"):
                out[f"{p}{name}.weight"] = [h]
            out[p + "eh_proj.weight"] = [h, 2 * h]
            out[p + "embed_tokens.weight"] = out[p + "shared_head.head.weight"] = [c["vocab_size"], h]
    out["model.norm.weight"] = [h]
    out["lm_head.weight"] = [c["vocab_size"], h]
    return out


def quantisable(name):
    parts = ("_proj.weight", "_proj_with_mqa.weight")
    return name.endswith(parts) and ("self_attn" in name or ".mlp." in name)


def quantise(w, ue8m0=False):
    """The released rule: one scale per 128 x 128 block, partial blocks at the edges."""
    w = w.float()
    rows, cols = w.shape
    codes = torch.empty(rows, cols, dtype=FP8)
    scales = torch.empty(math.ceil(rows / BLOCK), math.ceil(cols / BLOCK))
    for i in range(scales.shape[0]):
        for j in range(scales.shape[1]):
            at = (slice(i * BLOCK, (i + 1) * BLOCK), slice(j * BLOCK, (j + 1) * BLOCK))
            s = w[at].abs().max().clamp(min=1e-4) / 448.0
            if ue8m0:
                s = torch.exp2(torch.ceil(torch.log2(s)))
            codes[at] = (w[at] / s).to(FP8)
            scales[i, j] = s
    return codes, scales


def dequantise(codes, scales):
    wide = scales.float().repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)
    return codes.float() * wide[: codes.shape[0], : codes.shape[1]]


def make(directory, kind, dtype):
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True)
    c = dict(KINDS[kind])
    generator = torch.Generator().manual_seed(7)
    tensors = {}
    for name, shape in shapes(c).items():
        w = torch.randn(shape, generator=generator)
        if name.endswith("e_score_correction_bias"):
            tensors[name] = 0.5 * w
            continue
        w = 1 + 0.1 * w if len(shape) == 1 else w * (1.0 if "embed" in name else 1.6 / math.sqrt(shape[-1]))
        if dtype.startswith(("fp8", "ue8")) and quantisable(name):
            tensors[name], tensors[name + "_scale_inv"] = quantise(w, dtype == "ue8m0")
        else:
            tensors[name] = w if dtype == "f32" else w.bfloat16()
    for layer in range(c["num_hidden_layers"], c["num_hidden_layers"] + c.get("num_nextn_predict_layers", 0)):
        tensors[f"model.layers.{layer}.embed_tokens.weight"] = tensors["model.embed_tokens.weight"].clone()
        tensors[f"model.layers.{layer}.shared_head.head.weight"] = tensors["lm_head.weight"].clone()
    if dtype == "f32":
        c["torch_dtype"] = "float32"
    if dtype in ("fp8", "ue8m0"):
        c["quantization_config"] = dict(quant_method="fp8", fmt="e4m3", activation_scheme="dynamic",
                                        weight_block_size=[BLOCK, BLOCK])
        if dtype == "ue8m0":
            c["quantization_config"]["scale_fmt"] = "ue8m0"
    (directory / "config.json").write_text(json.dumps(c, indent=2))
    names = sorted(tensors)
    half = len(names) // 2
    parts = {"model-00001-of-00002.safetensors": names[:half], "model-00002-of-00002.safetensors": names[half:]}
    for file, its in parts.items():
        save_file({n: tensors[n] for n in its}, directory / file, {"format": "pt"})
    index = {"metadata": {"total_size": sum(t.numel() * t.element_size() for t in tensors.values())},
             "weight_map": {n: file for file, its in parts.items() for n in its}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    print(f"{len(tensors)} tensors")
