"""Tiny random models as Hugging Face transformers writes them, and what transformers computes with them.

usage: hf_tiny.py FOLDER. For every case: FOLDER/NAME/ (config.json, safetensors) and FOLDER/NAME.json:
  {"tokens": [[ids], ...], "logprobs": [[natural log of p(token i+1)], ...], "greedy": {"prompt": [...], "tokens":
  [...]}}
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import (AutoModelForCausalLM, DeepseekV2Config, DeepseekV2ForCausalLM, DeepseekV3Config,
                          DeepseekV3ForCausalLM)

V3 = dict(vocab_size=97, hidden_size=40, intermediate_size=56, moe_intermediate_size=24, num_hidden_layers=3,
          num_attention_heads=3, num_key_value_heads=3, n_shared_experts=1, n_routed_experts=8,
          routed_scaling_factor=2.5, kv_lora_rank=16, q_lora_rank=20, qk_rope_head_dim=8, v_head_dim=12,
          qk_nope_head_dim=10, n_group=4, topk_group=2,
          num_experts_per_tok=3, first_k_dense_replace=1, max_position_embeddings=128, initializer_range=0.1,
          norm_topk_prob=True, bos_token_id=0, eos_token_id=1)
V2 = dict(V3, hidden_size=48, n_group=2, topk_group=1, topk_method="group_limited_greedy", norm_topk_prob=False,
          routed_scaling_factor=1.0, scoring_func="softmax")


def v3(**more):
    return DeepseekV3ForCausalLM(DeepseekV3Config(**{**V3, **more}))


def v2(**more):
    return DeepseekV2ForCausalLM(DeepseekV2Config(**{**V2, **more}))


def roughen(model, seed):
    """Weights that spread the scores; selection biases far from zero, positive so that trap 3 plays no part."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
            if "e_score_correction_bias" in name:
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.8)
            elif name.endswith("norm.weight"):
                tensor.copy_(1 + 0.2 * torch.randn(tensor.shape, generator=generator))
            elif "inv_freq" not in name:
                tensor.copy_((0.12 * torch.randn(tensor.shape, generator=generator)).to(tensor.dtype))
    return model


def quantise(weight, ue8m0):
    """The released quantiser's rule, blocks of 128 x 128; returns codes, scales and what they stand for."""
    rows, cols = weight.shape
    grid = (-(-rows // 128), -(-cols // 128))
    codes, scales, values = torch.empty_like(weight, dtype=torch.float8_e4m3fn), torch.empty(grid), torch.empty_like(
        weight)
    for i in range(grid[0]):
        for j in range(grid[1]):
            block = slice(i * 128, (i + 1) * 128), slice(j * 128, (j + 1) * 128)
            scale = torch.clamp(weight[block].abs().max(), min=1e-4) / 448
            if ue8m0:
                scale = torch.exp2(torch.ceil(torch.log2(scale)))
            codes[block] = (weight[block] / scale).to(torch.float8_e4m3fn)
            scales[i, j] = scale
            values[block] = codes[block].float() * scale
    return codes, scales, values


def to_fp8(folder, ue8m0):
    """Rewrites a saved model with FP8 projections; its directory then holds the released layout."""
    file = folder / "model.safetensors"
    stored, dequantised = {}, {}
    for name, tensor in load_file(file).items():
        dequantised[name] = tensor
        stored[name] = tensor
        if name.endswith("_proj.weight") or name.endswith("with_mqa.weight"):
            codes, scales, dequantised[name] = quantise(tensor.float(), ue8m0)
            stored[name] = codes
            stored[name + "_scale_inv"] = scales.to(torch.float8_e8m0fnu) if ue8m0 else scales
    save_file(stored, file, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
                                     "weight_block_size": [128, 128]}
    if ue8m0:
        config["quantization_config"]["scale_fmt"] = "ue8m0"
    (folder / "config.json").write_text(json.dumps(config))
    return dequantised


def expectations(model, vocab):
    generator = torch.Generator().manual_seed(7)
    tokens = [torch.randint(2, vocab, (n,), generator=generator) for n in (2, 17, 33)]
    logprobs = []
    with torch.no_grad():
        for ids in tokens:
            scores = torch.log_softmax(model(ids[None]).logits[0].double(), -1)
            logprobs.append(scores[torch.arange(len(ids) - 1), ids[1:]].tolist())
        prompt = tokens[1][:5]
        out = model.generate(prompt[None], max_new_tokens=12, do_sample=False)[0][len(prompt):]
    return {"tokens": [t.tolist() for t in tokens], "logprobs": logprobs,
            "greedy": {"prompt": prompt.tolist(), "tokens": out.tolist()}}


def save(out, name, model, *, dtype=torch.float32, fp8=None, **saving):
    folder = out / name
    model = roughen(model, len(name)).to(dtype)
    model.save_pretrained(folder, **saving)
    if fp8 is None:
        reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, experts_implementation="eager")
    else:
        values = to_fp8(folder, fp8 == "ue8m0")
        scratch = out / (name + ".dequantised")
        scratch.mkdir()
        save_file(values, scratch / "model.safetensors", metadata={"format": "pt"})
        model.config.save_pretrained(scratch)
        reference = AutoModelForCausalLM.from_pretrained(scratch, dtype=torch.float32, experts_implementation="eager")
    reference.eval()
    (out / (name + ".json")).write_text(json.dumps(expectations(reference, model.config.vocab_size)))


def main():
    out = Path(sys.argv[1])
    torch.manual_seed(1)
    yarn = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=32, beta_fast=32,
                beta_slow=1, mscale=1.0, mscale_all_dim=1.0)
    wide = dict(hidden_size=144, intermediate_size=136, moe_intermediate_size=130, kv_lora_rank=130, q_lora_rank=129)
    save(out, "v3_one_file", v3())
    save(out, "v3_shards", v3(q_lora_rank=None, n_shared_experts=2, rope_parameters=yarn), max_shard_size="40KB")
    save(out, "v3_fused_experts", v3(n_group=1, topk_group=1), save_original_format=False)
    save(out, "v3_bf16", v3(tie_word_embeddings=True), dtype=torch.bfloat16)
    save(out, "v3_fp16", v3(first_k_dense_replace=0), dtype=torch.float16)
    save(out, "v3_fp8", v3(**wide), dtype=torch.bfloat16, fp8="float")
    save(out, "v3_fp8_ue8m0", v3(**wide), dtype=torch.bfloat16, fp8="ue8m0")
    save(out, "v2_groups", v2())
    save(out, "v2_lite", v2(q_lora_rank=None, n_group=1, topk_group=1, topk_method="greedy"))


if __name__ == "__main__":
    main()
