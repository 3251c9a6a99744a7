"""Models with multi-token prediction in the released layout, which transformers cannot run, with what the oracle says
of them.

usage: hf_mtp.py DIRECTORY     writes DIRECTORY/case_N/{config.json, model.safetensors, input.jsonl,
expected.safetensors.data} Expected: "loss", "mtp_losses" and "g.NAME" under Hugging Face names, in double precision, of
the loss mean(main) + LAMBDA / D * sum over depths of the depth's mean.
"""
import json
import os
import sys

import torch
from safetensors.torch import save_file

from check_oracle_against_transformers import their_names
from grid import random_weights
from model import Batch, Config, LossWeights, Model

LAMBDA, LENGTHS = 0.3, (19, 12)
BASE = dict(vocab_size=61, hidden_size=40, n_layers=2, n_dense_layers=1, n_heads=2, q_lora_rank=12, kv_lora_rank=10,
            qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=6, dense_ffn_size=30, expert_ffn_size=9,
            n_routed_experts=8, n_shared_experts=1, n_experts_per_token=2, n_groups=2, n_limited_groups=1,
            routed_scale=2.5, n_mtp=1, max_positions=64)
CASES = [{}, dict(n_mtp=2, q_lora_rank=0, n_shared_experts=2), dict(n_groups=1, rms_eps=1e-3, n_dense_layers=0),
         dict(yarn=dict(factor=4.0, original_positions=16, mscale=1.0, mscale_all_dim=1.0, beta_fast=32.0,
                        beta_slow=1.0))]


def stored_name(c, ours):
    """our name -> the released one; experts with {e}."""
    settings = {k: v for k, v in vars(c).items() if k != "yarn"}
    names = their_names(Config(settings | dict(n_layers=c.n_layers + c.n_mtp, n_mtp=0)))
    special = dict(embedding_norm="enorm.weight", hidden_norm="hnorm.weight", projection="eh_proj.weight",
                   final_norm="shared_head.norm.weight")
    if ".mtp." in ours:
        return "model." + ours.split(".mtp.")[0] + "." + special[ours.split(".mtp.")[1]]
    place = names[ours]
    if ".experts." in ours:
        if isinstance(place, tuple):
            return place[0].replace("gate_up_proj", "{e}." + ours.split(".")[-1] + "_proj.weight")
        return place.replace("down_proj", "{e}.down_proj.weight")
    return place


def spread(c, tensors, prefix=""):
    """Our stacked tensors under stored names, experts one by one."""
    found = {}
    for ours, t in tensors.items():
        name = stored_name(c, ours)
        for e in range(t.shape[0]) if "{e}" in name else [None]:
            found[prefix + name.replace("{e}", str(e))] = (t if e is None else t[e]).contiguous().clone()
    return found


def config_json(c):
    rope = None
    if c.yarn["factor"] > 1:
        rope = dict(type="yarn", factor=c.yarn["factor"], original_max_position_embeddings=c.yarn["original_positions"],
                    beta_fast=c.yarn["beta_fast"], beta_slow=c.yarn["beta_slow"], mscale=c.yarn["mscale"],
                    mscale_all_dim=c.yarn["mscale_all_dim"])
    return dict(
        architectures=["DeepseekV3ForCausalLM"], model_type="deepseek_v3", vocab_size=c.vocab_size,
        hidden_size=c.hidden_size, num_hidden_layers=c.n_layers, first_k_dense_replace=c.n_dense_layers,
        num_attention_heads=c.n_heads, num_key_value_heads=c.n_heads,
        q_lora_rank=c.q_lora_rank or None, kv_lora_rank=c.kv_lora_rank, qk_nope_head_dim=c.qk_nope_head_dim,
        qk_rope_head_dim=c.qk_rope_head_dim, v_head_dim=c.v_head_dim, intermediate_size=c.dense_ffn_size,
        moe_intermediate_size=c.expert_ffn_size, n_routed_experts=c.n_routed_experts,
        n_shared_experts=c.n_shared_experts, num_experts_per_tok=c.n_experts_per_token, n_group=c.n_groups,
        topk_group=c.n_limited_groups, topk_method="noaux_tc",
        scoring_func="sigmoid", norm_topk_prob=True, routed_scaling_factor=c.routed_scale,
        num_nextn_predict_layers=c.n_mtp, rms_norm_eps=c.rms_eps, rope_theta=c.rope_theta, rope_scaling=rope,
        max_position_embeddings=c.max_positions, hidden_act="silu",
        attention_bias=False, moe_layer_freq=1, tie_word_embeddings=False, torch_dtype="float32", bos_token_id=None,
        eos_token_id=None)


def write_case(directory, index, changes):
    c = Config(BASE | changes)
    weights = random_weights(c, "far", 50 + index)
    folder = f"{directory}/case_{index}"
    os.makedirs(folder)
    stored = {n: t.float() for n, t in spread(c, weights).items()}
    for k in range(c.n_mtp):  # the released copies
        stored[f"model.layers.{c.n_layers + k}.embed_tokens.weight"] = stored["model.embed_tokens.weight"].clone()
        stored[f"model.layers.{c.n_layers + k}.shared_head.head.weight"] = stored["lm_head.weight"].clone()
    save_file(stored, f"{folder}/model.safetensors")
    with open(f"{folder}/config.json", "w") as f:
        json.dump(config_json(c), f)
    generator = torch.Generator().manual_seed(index)
    texts = [torch.randint(0, c.vocab_size, (n + 1,), generator=generator).tolist() for n in LENGTHS]
    with open(f"{folder}/input.jsonl", "w") as f:
        f.writelines(json.dumps(dict(tokens=t)) + "\n" for t in texts)

    tokens, targets, spans = [], [], []
    for text in texts:
        spans.append((len(tokens), len(text) - 1))
        tokens += text[:-1]
        targets += text[1:]
    counts = [sum(n - k for n in LENGTHS) for k in range(1, c.n_mtp + 1)]
    leaves = {n: w.clone().requires_grad_(not n.endswith("moe.bias")) for n, w in weights.items()}
    result = Model(c, leaves).forward(Batch(tokens, targets, spans, spans),
                                      LossWeights(1 / sum(LENGTHS), [LAMBDA / c.n_mtp / n for n in counts], 0.0))
    assert result.mtp_count == counts
    result.total.backward()
    expected = spread(c, {n: w.grad for n, w in leaves.items() if w.grad is not None}, "g.")
    expected["loss"] = (result.main / sum(LENGTHS)).detach().reshape(1)
    expected["mtp_losses"] = torch.stack([m / n for m, n in zip(result.mtp, counts)]).detach()
    save_file(expected, f"{folder}/expected.safetensors.data")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for i, changes in enumerate(CASES):
        write_case(sys.argv[1], i, changes)
