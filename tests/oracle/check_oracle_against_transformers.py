"""Holds the oracle itself against a stranger: Hugging Face transformers' DeepseekV3, DeepseekV2, Llama and Glm4Moe, in
double precision, where the families overlap (no MTP, no document masks, no balance loss). Logits and every gradient of
the cross-entropy must agree.

transformers casts some steps to float; while it runs here, those casts are lifted. Prints one line per case and the
worst error; exits 1 if anything differs by more than 1e-12 of its norm.
"""
import contextlib
import sys

import torch
from transformers import (DeepseekV2Config, DeepseekV2ForCausalLM, DeepseekV3Config, DeepseekV3ForCausalLM,
                          Glm4MoeConfig, Glm4MoeForCausalLM, LlamaConfig, LlamaForCausalLM)

from grid import random_weights
from model import Batch, Config, LossWeights, Model

TOLERANCE = 1e-12
BASE = dict(vocab_size=37, hidden_size=24, n_layers=3, n_dense_layers=1, n_heads=3, q_lora_rank=10, kv_lora_rank=12,
            qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=6, dense_ffn_size=20, expert_ffn_size=7,
            n_routed_experts=12, n_shared_experts=1, n_experts_per_token=3, n_groups=4, n_limited_groups=2,
            routed_scale=2.5)
YARN = dict(factor=4.0, original_positions=16, mscale=0.707, mscale_all_dim=1.0, beta_fast=32.0, beta_slow=1.0)
V2 = dict(score_function="softmax", group_score="max", selection_bias=False, normalize_top_k=False)
HEADS = dict(attention="gqa", n_heads=6, n_kv_heads=2, head_dim=8)
CASES = {
    "v3": {},
    "v3 negative bias": dict(bias="negative"),
    "v3 two shared, direct q, YaRN": dict(n_shared_experts=2, q_lora_rank=0, yarn=YARN),
    "v3 one group, not normalised, rms eps 1e-2": dict(n_groups=1, n_limited_groups=1, normalize_top_k=False,
                                                       rms_eps=1e-2),
    "v3 tied, all layers sparse": dict(tie_embeddings=True, n_dense_layers=0, n_layers=2),
    "v2 group-limited softmax": dict(**V2),
    "v2 greedy softmax, direct q, YaRN": dict(**V2, n_groups=1, n_limited_groups=1, q_lora_rank=0,
                                              yarn=YARN | dict(mscale=1.0)),
    "llama, groups of three": dict(**HEADS, n_routed_experts=0),
    "llama, a head for all, YaRN, tied": dict(HEADS, n_kv_heads=1, n_routed_experts=0, yarn=YARN, tie_embeddings=True),
    "llama, every head its own": dict(attention="mha", n_heads=4, head_dim=0, n_routed_experts=0),
    "glm4_moe": dict(HEADS, head_dim=10),
    "glm4_moe, every head its own, negative bias, YaRN": dict(attention="mha", n_heads=3, head_dim=14, yarn=YARN,
                                                              bias="negative", n_shared_experts=2),
    "glm4_moe, one group, not normalised": dict(HEADS, n_groups=1, n_limited_groups=1, normalize_top_k=False),
}


@contextlib.contextmanager
def double_throughout():
    """Lifts casts of double tensors to float."""
    kept = {name: getattr(torch.Tensor, name) for name in ("to", "type", "float", "softmax")}

    def lift(args):
        return [torch.float64 if a is torch.float32 else a for a in args]

    def to(self, *args, **kwargs):
        return kept["to"](self, *lift(args), **dict(zip(kwargs, lift(kwargs.values()))))

    def change_type(self, *args, **kwargs):
        return kept["type"](self, *lift(args), **kwargs)

    def softmax(self, *args, **kwargs):
        return kept["softmax"](self, *args, **dict(zip(kwargs, lift(kwargs.values()))))

    torch.Tensor.to, torch.Tensor.type, torch.Tensor.softmax = to, change_type, softmax
    torch.Tensor.float = lambda self: kept["to"](self, torch.float64)
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(torch.Tensor, name, function)


def experts(c):
    return dict(
        first_k_dense_replace=c.n_dense_layers, moe_intermediate_size=c.expert_ffn_size,
        n_routed_experts=c.n_routed_experts, n_shared_experts=c.n_shared_experts,
        num_experts_per_tok=c.n_experts_per_token, n_group=c.n_groups, topk_group=c.n_limited_groups,
        routed_scaling_factor=c.routed_scale, norm_topk_prob=c.normalize_top_k)


def stranger_with_heads(c, common):
    common |= dict(num_key_value_heads=c.kv_heads(), head_dim=c.whole_head(), attention_bias=False)
    if c.n_routed_experts == 0:
        return LlamaForCausalLM(LlamaConfig(**common)).double().eval()
    common["rope_parameters"] = common["rope_parameters"] | dict(partial_rotary_factor=1.0)
    model = Glm4MoeForCausalLM(Glm4MoeConfig(**common, **experts(c), use_qk_norm=False, num_mtp_layers=0))
    model.config._experts_implementation = "eager"
    return model.double().eval()


def in_their_order(c, ours, rows):
    """Rows of Llama's q and k, where pairs are (i, i + d/2) of a head; ours are (2i, 2i + 1). Others as they are."""
    if c.is_latent() or not ours.endswith(("attention.q", "attention.k")):
        return rows
    return rows.view(-1, c.whole_head() // 2, 2, rows.shape[1]).transpose(1, 2).reshape(rows.shape)


def stranger(c):
    """The transformers model of this configuration, and whether it is V3."""
    rope = dict(rope_type="default", rope_theta=c.rope_theta)
    if c.yarn["factor"] > 1:
        rope = dict(rope_type="yarn", rope_theta=c.rope_theta, factor=c.yarn["factor"],
                    original_max_position_embeddings=c.yarn["original_positions"], beta_fast=c.yarn["beta_fast"],
                    beta_slow=c.yarn["beta_slow"], mscale=c.yarn["mscale"], mscale_all_dim=c.yarn["mscale_all_dim"])
    common = dict(
        vocab_size=c.vocab_size, hidden_size=c.hidden_size, num_hidden_layers=c.n_layers, num_attention_heads=c.n_heads,
        intermediate_size=c.dense_ffn_size, rms_norm_eps=c.rms_eps,
        max_position_embeddings=int(c.yarn["factor"] * c.yarn["original_positions"]),
        tie_word_embeddings=c.tie_embeddings, rope_parameters=rope, use_cache=False, bos_token_id=None,
        eos_token_id=None, pad_token_id=None)
    if not c.is_latent():
        return stranger_with_heads(c, common)
    common |= experts(c) | dict(
        num_key_value_heads=c.n_heads, q_lora_rank=c.q_lora_rank or None, kv_lora_rank=c.kv_lora_rank,
        qk_nope_head_dim=c.qk_nope_head_dim, qk_rope_head_dim=c.qk_rope_head_dim, v_head_dim=c.v_head_dim)
    is_v3 = c.score_function == "sigmoid"
    if is_v3:
        model = DeepseekV3ForCausalLM(DeepseekV3Config(**common, num_mtp_layers=0))
    else:
        method = "greedy" if c.n_groups == 1 else "group_limited_greedy"
        model = DeepseekV2ForCausalLM(DeepseekV2Config(**common, topk_method=method))
    model.config._experts_implementation = "eager"
    return model.double().eval()


def their_names(c):
    """our name -> (their name, row slice or None); experts' gate and up are stacked in one tensor of theirs."""
    names = {"embedding": "model.embed_tokens.weight", "final_norm": "model.norm.weight", "head": "lm_head.weight"}
    attention = dict(k="k_proj", v="v_proj", q="q_proj", q_a="q_a_proj", q_a_norm="q_a_layernorm", q_b="q_b_proj",
                     kv_a="kv_a_proj_with_mqa", kv_a_norm="kv_a_layernorm", kv_b="kv_b_proj", o="o_proj")
    for layer in range(c.n_layers):
        ours, theirs = f"layers.{layer}.", f"model.layers.{layer}."
        names[ours + "attention_norm"] = theirs + "input_layernorm.weight"
        names[ours + "ffn_norm"] = theirs + "post_attention_layernorm.weight"
        for a, b in attention.items():
            names[f"{ours}attention.{a}"] = f"{theirs}self_attn.{b}.weight"
        for a in ("gate", "up", "down"):
            names[f"{ours}ffn.{a}"] = f"{theirs}mlp.{a}_proj.weight"
            names[f"{ours}moe.shared.{a}"] = f"{theirs}mlp.shared_experts.{a}_proj.weight"
        names[ours + "moe.router"] = theirs + "mlp.gate.weight"
        names[ours + "moe.bias"] = theirs + "mlp.gate.e_score_correction_bias"
        names[ours + "moe.experts.gate"] = (theirs + "mlp.experts.gate_up_proj", slice(0, c.expert_ffn_size))
        names[ours + "moe.experts.up"] = (theirs + "mlp.experts.gate_up_proj", slice(c.expert_ffn_size, None))
        names[ours + "moe.experts.down"] = theirs + "mlp.experts.down_proj"
    return names


def part(tensors, place):
    if isinstance(place, tuple):
        return tensors[place[0]][:, place[1]]
    return tensors[place]


def check_case(name, changes):
    changes = dict(changes)
    bias = changes.pop("bias", "far")
    c = Config(BASE | changes)
    torch.manual_seed(5)
    weights = random_weights(c, bias, seed=11)
    length, n_sequences = 19, 2
    ids = torch.randint(0, c.vocab_size, (n_sequences, length))
    theirs, names = stranger(c), their_names(c)
    state = dict(theirs.named_parameters()) | dict(theirs.named_buffers())
    with torch.no_grad():
        for ours, w in weights.items():
            part(state, names[ours]).copy_(in_their_order(c, ours, w))
    frequencies = Model(c, {}).rope_frequencies(length)
    rotary = theirs.model.rotary_emb
    if not torch.allclose(rotary.inv_freq.double(), frequencies, rtol=2e-6, atol=0):
        return f"{name}: rotary frequencies differ: {rotary.inv_freq.tolist()} against {frequencies.tolist()}", 1.0
    rotary.inv_freq.data = frequencies
    with double_throughout():
        logits = theirs(input_ids=ids).logits
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()

    tokens = ids.flatten().tolist()
    targets = [t for row in ids.tolist() for t in row[1:] + [-1]]
    ranges = [(i * length, length) for i in range(n_sequences)]
    leaves = {n: w.clone().requires_grad_(not n.endswith("moe.bias")) for n, w in weights.items()}
    result = Model(c, leaves).forward(Batch(tokens, targets, ranges, ranges),
                                      LossWeights(1 / (n_sequences * (length - 1)), [], 0.0))
    result.total.backward()

    worst, where = abs(float(result.total.detach() - loss.detach())) / float(loss.detach()), "loss"
    for ours, w in leaves.items():
        if not w.requires_grad:
            continue
        place = names[ours]
        gradients = {n: p.grad if p.grad is not None else torch.zeros_like(p) for n, p in theirs.named_parameters()}
        other = part(gradients, place)
        error = float((in_their_order(c, ours, w.grad) - other).norm() / (other.norm() + 1e-12))
        if error > worst:
            worst, where = error, ours
    return f"{name}: loss {float(loss.detach()):.12f}, worst relative error {worst:.1e} at {where}", worst


def main():
    torch.set_num_threads(1)
    failed = False
    for name, changes in CASES.items():
        line, worst = check_case(name, changes)
        failed |= not worst <= TOLERANCE
        print(("FAILED " if not worst <= TOLERANCE else "agrees ") + line)
    sys.exit(failed)


if __name__ == "__main__":
    main()
