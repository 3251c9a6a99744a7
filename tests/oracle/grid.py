"""The grid of configurations: factors with their levels, sampled so that every pair of levels meets in some case.

A level's value is a dict of configuration keys, options or batch traits. The sampler is greedy (of many random
candidates the one that covers most pairs not met yet) and seeded: the same grid everywhere.
"""
import random

import torch

from model import Batch, Config, parameter_shapes

FACTORS = dict(
    width=[dict(hidden_size=16), dict(hidden_size=13), dict(hidden_size=24), dict(hidden_size=32)],
    vocab=[dict(vocab_size=11), dict(vocab_size=32), dict(vocab_size=67)],
    layers=[dict(n_layers=1, n_dense_layers=0), dict(n_layers=2, n_dense_layers=1), dict(n_layers=3, n_dense_layers=1),
            dict(n_layers=2, n_dense_layers=0), dict(n_layers=1, n_dense_layers=1)],
    heads=[dict(n_heads=1), dict(n_heads=2), dict(n_heads=3)],
    q_lora=[dict(q_lora_rank=0), dict(q_lora_rank=7), dict(q_lora_rank=16)],
    kv_lora=[dict(kv_lora_rank=5), dict(kv_lora_rank=12), dict(kv_lora_rank=16)],
    head_dims=[dict(qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=8),
               dict(qk_nope_head_dim=5, qk_rope_head_dim=2, v_head_dim=3),
               dict(qk_nope_head_dim=3, qk_rope_head_dim=6, v_head_dim=7), dict(qk_nope_head_dim=16, qk_rope_head_dim=8,
                                                                                v_head_dim=12)],
    dense_ffn=[dict(dense_ffn_size=9), dict(dense_ffn_size=20)],
    expert_ffn=[dict(expert_ffn_size=3), dict(expert_ffn_size=8)],
    experts=[dict(n_routed_experts=0, n_groups=1, n_limited_groups=1, n_experts_per_token=1),
             dict(n_routed_experts=4, n_groups=1, n_limited_groups=1, n_experts_per_token=1),
             dict(n_routed_experts=7, n_groups=1, n_limited_groups=1, n_experts_per_token=3),
             dict(n_routed_experts=8, n_groups=2, n_limited_groups=1, n_experts_per_token=2),
             dict(n_routed_experts=10, n_groups=2, n_limited_groups=2, n_experts_per_token=4),
             dict(n_routed_experts=12, n_groups=4, n_limited_groups=2, n_experts_per_token=3),
             dict(n_routed_experts=8, n_groups=4, n_limited_groups=3, n_experts_per_token=4),
             dict(n_routed_experts=12, n_groups=4, n_limited_groups=1, n_experts_per_token=3)],
    shared=[dict(n_shared_experts=0), dict(n_shared_experts=1), dict(n_shared_experts=2)],
    gate=[dict(score_function="sigmoid", group_score="top2_sum"), dict(score_function="softmax", group_score="max"),
          dict(score_function="sigmoid", group_score="max"), dict(score_function="softmax", group_score="top2_sum")],
    bias=[dict(selection_bias=False, bias="none"), dict(selection_bias=True, bias="small"),
          dict(selection_bias=True, bias="far"),
          dict(selection_bias=True, bias="negative")],
    normalize=[dict(normalize_top_k=True), dict(normalize_top_k=False)],
    routed_scale=[dict(routed_scale=1.0), dict(routed_scale=2.5)],
    mtp=[dict(n_mtp=0), dict(n_mtp=1), dict(n_mtp=2)],
    eps=[dict(rms_eps=1e-6, latent_norm_eps=1e-6), dict(rms_eps=1e-2, latent_norm_eps=1e-6),
         dict(rms_eps=1e-5, latent_norm_eps=1e-3)],
    rope=[dict(rope_theta=10000.0), dict(rope_theta=50.0)],
    yarn=[dict(), dict(yarn=dict(factor=4.0, original_positions=16, mscale=1.0, mscale_all_dim=1.0)),
          dict(yarn=dict(factor=40.0, original_positions=64, mscale=0.707, mscale_all_dim=1.0, beta_fast=8.0)),
          dict(yarn=dict(factor=2.0, original_positions=4096, mscale=1.0, mscale_all_dim=0.0))],
    tie=[dict(tie_embeddings=False), dict(tie_embeddings=True)],
    form=[dict(attention_form="up_projected"), dict(attention_form="absorbed")],
    recompute=[dict(recompute="none"), dict(recompute="norms"), dict(recompute="all")],
    loss_chunk=[dict(loss_chunk_tokens=0), dict(loss_chunk_tokens=1), dict(loss_chunk_tokens=7)],
    threads=[dict(threads=1), dict(threads=3)],
    batch=[dict(lengths=[16]), dict(lengths=[23, 9]), dict(lengths=[5, 1, 17]), dict(lengths=[3]), dict(lengths=[40])],
    documents=[dict(masked=False), dict(masked=True)],
    targets=[dict(masked_targets=False, open_end=False), dict(masked_targets=True, open_end=True)],
    split=[dict(split=False), dict(split=True)],
)
# Llama's attention in place of the latent one, in cases of their own (heads()): what they say of heads.
HEADS = [dict(attention="mha", n_heads=1, head_dim=6), dict(attention="mha", n_heads=3, head_dim=10),
         dict(attention="mha", n_heads=2, head_dim=8, n_kv_heads=2), dict(attention="gqa", n_heads=2, n_kv_heads=1,
                                                                          head_dim=8),
         dict(attention="gqa", n_heads=4, n_kv_heads=2, head_dim=4), dict(attention="gqa", n_heads=6, n_kv_heads=2,
                                                                          head_dim=6),
         dict(attention="gqa", n_heads=6, n_kv_heads=3, head_dim=2), dict(attention="gqa", n_heads=3, n_kv_heads=3,
                                                                          head_dim=14),
         dict(attention="gqa", n_heads=4, n_kv_heads=1, head_dim=136)]  # more than a chunk of 128
LATENT_KEYS = ("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "latent_norm_eps")
OPTION_KEYS = ("attention_form", "recompute", "loss_chunk_tokens", "threads", "split")
TRAIT_KEYS = ("bias", "lengths", "masked", "masked_targets", "open_end")


def pairs_of(choice):
    names = list(FACTORS)
    return {(names[i], choice[names[i]], names[j], choice[names[j]]) for i in range(len(names)) for j in range(i)}


def all_pairs():
    names = list(FACTORS)
    return {(names[i], a, names[j], b) for i in range(len(names)) for j in range(i)
            for a in range(len(FACTORS[names[i]])) for b in range(len(FACTORS[names[j]]))}


def sample(n_cases, seed=20):
    """List of level choices {factor: index}; raises if n_cases are too few to meet every pair."""
    draw, missing, cases = random.Random(seed), all_pairs(), []
    for _ in range(n_cases):
        candidates = [{f: draw.randrange(len(levels)) for f, levels in FACTORS.items()} for _ in range(12)]
        best = max(candidates, key=lambda c: len(pairs_of(c) & missing)) if missing else candidates[0]
        missing -= pairs_of(best)
        cases.append(best)
    if missing and n_cases >= 200:
        raise SystemExit(f"{len(missing)} pairs of levels never meet in {n_cases} cases")
    return cases


def heads(n_cases, seed=21):
    """Cases with Llama's attention, each of HEADS in turn."""
    draw = random.Random(seed)
    return [{f: draw.randrange(len(levels)) for f, levels in FACTORS.items()} | dict(attention=i % len(HEADS))
            for i in range(n_cases)]


def grid(n_cases):
    """So many cases of latent attention, and a fifth as many of Llama's behind them."""
    return sample(n_cases) + heads(n_cases // 5)


def split_documents(begin, count, draw):
    """Documents of a sequence, odd sizes, some of length 1."""
    segments, end = [], begin + count
    while begin < end:
        size = min(draw.choice([1, 2, 3, 6, 11]), end - begin)
        segments.append((begin, size))
        begin += size
    return segments


def make_batch(traits, vocab, draw):
    tokens, targets, segments, sequences = [], [], [], []
    for length in traits["lengths"]:
        begin = len(tokens)
        text = [draw.randrange(vocab) for _ in range(length + 1)]
        tokens += text[:-1]
        sequences.append((begin, length))
        mine = split_documents(begin, length, draw) if traits["masked"] else [(begin, length)]
        segments += mine
        following = text[1:]
        for b, n in mine:  # the last row of a segment has no target, except where the text goes on after the sequence
            if traits["masked"] or not traits["open_end"]:
                following[b + n - 1 - begin] = -1
        if traits["masked_targets"]:
            following = [t if draw.random() < 0.7 else -1 for t in following]
        targets += following
    return Batch(tokens, targets, segments, sequences)


def random_weights(c, bias_kind, seed):
    """Large enough that log-probabilities spread; rounded to float, so that FP32 starts from the same numbers."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in parameter_shapes(c).items():
        x = torch.randn(shape, generator=generator, dtype=torch.float64)
        if name.endswith("moe.bias"):
            x = {"small": 0.05 * x, "far": 0.8 * x, "negative": 0.3 * x - 3.0}[bias_kind]
        elif name.endswith("norm"):
            x = 1 + 0.3 * x
        elif name.endswith("router"):
            x = x * 1.5 * shape[-1] ** -0.5
        elif name in ("embedding", "head"):
            x = x * (1.0 if name == "embedding" and not c.tie_embeddings else 2.0 * c.hidden_size ** -0.5)
        else:
            x = x * 1.0 * shape[-1] ** -0.5
        weights[name] = x.float().double()
    return weights


def build(choice, index, attempt=0):
    """One case: configuration, options, batch, weights of the loss terms, model weights (another draw for each
    attempt)."""
    merged = {}
    for factor, level in choice.items():
        merged.update((FACTORS | dict(attention=HEADS))[factor][level])
    if "attention" in choice:
        merged = {k: v for k, v in merged.items() if k not in LATENT_KEYS} | dict(attention_form="up_projected")
    options = {k: merged.pop(k) for k in OPTION_KEYS}
    traits = {k: merged.pop(k) for k in TRAIT_KEYS}
    draw = random.Random(1000 + index)
    config = merged
    batch = make_batch(traits, config["vocab_size"], draw)
    n = max(len(batch.tokens), 24)  # weights of means, as in training, but all different
    loss_weights = dict(main=draw.uniform(0.5, 1.5) / n,
                        mtp=[draw.uniform(0.1, 0.4) / n for _ in range(config["n_mtp"])],
                        balance=draw.uniform(0.02, 0.08) / len(batch.sequences))
    weights = random_weights(Config(config), traits["bias"], 7 + index + 1000 * attempt)
    return config, options, traits, batch, loss_weights, weights
