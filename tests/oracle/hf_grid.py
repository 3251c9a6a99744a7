"""Random models of Hugging Face transformers, saved as its users save them, with what transformers computes from them.

usage: hf_grid.py DIRECTORY [--heads] [--cases 64] [--only 3,4]     writes DIRECTORY/case_NNN/{model directory,
expected.json, expected.safetensors}; with --heads models with Llama's attention (Llama, Glm4Moe)

Configurations are sampled so that every pair of levels meets. A draw is kept only if it can show mistakes:
log-probabilities spread by a nat, every expert receives tokens, FP32 and FP64 choose the same experts, greedy text has
32 different tokens, and twenty steps of AdamW lower the loss by 0.5.
"""
import argparse
import json
import os
import random
import shutil

import torch
import transformers
from safetensors.torch import save_file

from check_oracle_against_transformers import double_throughout, in_their_order, part, stranger, their_names
from grid import random_weights
from hf_measure import adamw_losses, greedy, log_probs, routes, trace
from hf_storage import per_expert, save_model, to_bf16
from model import Config

SEQUENCES, LENGTH, PROMPT = 4, 48, 8
MORE_SEQUENCES = 20  # for BF16, whose errors scatter
FACTORS = dict(
    family=[dict(family="v3"), dict(family="v2"), dict(family="v2_lite"), dict(family="kimi")],
    width=[dict(hidden_size=64), dict(hidden_size=57), dict(hidden_size=136)],
    vocab=[dict(vocab_size=131), dict(vocab_size=160)],
    layers=[dict(n_layers=2, n_dense_layers=1), dict(n_layers=2, n_dense_layers=0), dict(n_layers=3, n_dense_layers=1)],
    heads=[dict(n_heads=2), dict(n_heads=3), dict(n_heads=4)],
    q_lora=[dict(q_lora_rank=0), dict(q_lora_rank=24), dict(q_lora_rank=13)],
    kv_lora=[dict(kv_lora_rank=16), dict(kv_lora_rank=21)],
    head_dims=[dict(qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16),
               dict(qk_nope_head_dim=9, qk_rope_head_dim=4, v_head_dim=7),
               dict(qk_nope_head_dim=12, qk_rope_head_dim=6, v_head_dim=10)],
    dense_ffn=[dict(dense_ffn_size=150), dict(dense_ffn_size=51)],
    expert_ffn=[dict(expert_ffn_size=24), dict(expert_ffn_size=17)],
    experts=[dict(n_routed_experts=8, n_groups=1, n_limited_groups=1, n_experts_per_token=2),
             dict(n_routed_experts=7, n_groups=1, n_limited_groups=1, n_experts_per_token=3),
             dict(n_routed_experts=12, n_groups=3, n_limited_groups=2, n_experts_per_token=3),
             dict(n_routed_experts=16, n_groups=4, n_limited_groups=2, n_experts_per_token=4)],
    shared=[dict(n_shared_experts=0), dict(n_shared_experts=1), dict(n_shared_experts=2)],
    bias=[dict(bias="far"), dict(bias="negative")],
    normalize=[dict(normalize_top_k=True), dict(normalize_top_k=False)],
    scale=[dict(routed_scale=1.0), dict(routed_scale=2.5)],
    eps=[dict(rms_eps=1e-6), dict(rms_eps=1e-5), dict(rms_eps=1e-2)],
    theta=[dict(rope_theta=10000.0), dict(rope_theta=50.0)],
    yarn=[dict(), dict(yarn=dict(factor=4.0, original_positions=32, mscale=1.0, mscale_all_dim=1.0)),
          dict(yarn=dict(factor=40.0, original_positions=64, mscale=0.707, mscale_all_dim=1.0, beta_fast=8.0,
                         beta_slow=1.0))],
    tie=[dict(tie_embeddings=False), dict(tie_embeddings=True)],
    storage=[dict(storage="fp32"), dict(storage="bf16"), dict(storage="fp8"), dict(storage="fp8_ue8m0")],
    files=[dict(files="one"), dict(files="sharded")],
    spelling=[dict(spelling="new"), dict(spelling="old")],
)
HEADS = {f: levels for f, levels in FACTORS.items() if f not in ("q_lora", "kv_lora", "head_dims")} | dict(
    family=[dict(family="llama"), dict(family="glm4_moe")],
    heads=[dict(attention="gqa", n_heads=4, n_kv_heads=2), dict(attention="mha", n_heads=3),
           dict(attention="gqa", n_heads=6, n_kv_heads=2), dict(attention="gqa", n_heads=4, n_kv_heads=1)],
    head_dim=[dict(head_dim=16), dict(head_dim=10), dict(head_dim=0), dict(head_dim=6)])
OPTION_KEYS = ("family", "bias", "storage", "files", "spelling")


def pairs(choice):
    names = list(choice)
    return {(i, choice[names[i]], j, choice[names[j]]) for i in range(len(names)) for j in range(i)}


def sample(n_cases, seed=4, factors=FACTORS):
    draw = random.Random(seed)
    sizes = [len(levels) for levels in factors.values()]
    missing = {(i, a, j, b) for i in range(len(sizes)) for j in range(i) for a in range(sizes[i])
               for b in range(sizes[j])}
    cases = []
    for _ in range(n_cases):
        candidates = [{f: draw.randrange(len(levels)) for f, levels in factors.items()} for _ in range(60)]
        best = max(candidates, key=lambda c: len(pairs(c) & missing))
        missing -= pairs(best)
        cases.append(best)
    if missing and n_cases >= (60 if factors is FACTORS else 40):
        raise SystemExit(f"{len(missing)} pairs of levels never meet in {n_cases} cases")
    return cases


def describe(choice):
    """(model configuration in our field names, options)"""
    merged = {}
    for factor, level in choice.items():
        merged.update((HEADS if "head_dim" in choice else FACTORS)[factor][level])
    options = {k: merged.pop(k) for k in OPTION_KEYS}
    family = options["family"]
    if family in ("v2", "v2_lite"):  # no bias, no normalisation (transformers knows none there), group maximum
        merged.update(score_function="softmax", group_score="max", selection_bias=False, normalize_top_k=False)
        options["bias"] = "none"
        for size in ("kv_lora_rank", "qk_nope_head_dim"):  # its rotary code needs even strides
            merged[size] += merged[size] % 2
        if merged["hidden_size"] % merged["n_heads"]:
            merged["n_heads"] = 3 if merged["hidden_size"] % 3 == 0 else 4
    if family in ("v2_lite", "kimi"):
        merged.update(n_groups=1, n_limited_groups=1)
    if family == "v2_lite":
        merged.update(q_lora_rank=0)
    if family in ("llama", "glm4_moe"):
        size = 2 * merged["n_heads"]  # of a head by default: whole and even, which Llama wants of any
        merged["hidden_size"] += -merged["hidden_size"] % size
    if family == "llama":
        merged.update(n_routed_experts=0, n_shared_experts=0, n_groups=1, n_limited_groups=1, n_experts_per_token=1,
                      n_dense_layers=merged["n_layers"])
        options["bias"] = "none"
    merged["max_positions"] = 256
    return merged, options


def draw_weights(c, bias, seed):
    """FP32 weights under our names: every matrix's deviation at least 0.08, log-probabilities far apart."""
    weights = random_weights(c, "far" if bias == "none" else bias, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    for name, w in weights.items():
        if name.endswith("moe.bias"):  # far from zero, but near one another: else some experts never see a token
            w.copy_((0.15 * torch.randn(w.shape, generator=generator)).double() + {"far": 1.5, "negative": -3.0}[bias])
        elif name == "embedding" and not c.tie_embeddings:
            w.mul_(0.3)  # small beside what the layers add, so that greedy text depends on more than its last token
        elif not name.endswith("norm"):
            gain = 1.0 if name in ("embedding", "head") or name.endswith("router") else 1.4
            w.mul_(max(gain, 0.08 / float(w.std())))
    return {n: w.float() for n, w in weights.items()}


class Draw:
    """One candidate: weights, text and all that transformers says about them. reason: why it cannot be used."""

    def __init__(self, index, choice, attempt, directory):
        values, self.options = describe(choice)
        self.c, self.reason = Config(values), None
        seed = 100 * index + attempt
        torch.manual_seed(seed)
        self.weights = draw_weights(self.c, self.options["bias"], seed)
        self.ids = torch.randint(0, self.c.vocab_size, (SEQUENCES, LENGTH))
        theirs = stranger(self.c).float()
        theirs.config.max_position_embeddings = self.c.max_positions
        names, state = their_names(self.c), dict(theirs.named_parameters()) | dict(theirs.named_buffers())
        with torch.no_grad():
            for ours, w in self.weights.items():
                part(state, names[ours]).copy_(in_their_order(self.c, ours, w))
        shutil.rmtree(directory, ignore_errors=True)
        save_model(directory, theirs, self.options)
        self.theirs = theirs
        self.measure()

    def measure(self):
        theirs, ids = self.theirs, self.ids
        chosen, self.values = routes(theirs, ids)
        if float(self.values.std()) < 1:
            return self.refuse(f"log-probabilities spread by {float(self.values.std()):.2f}")
        if any(len(layer.unique()) < self.c.n_routed_experts for layer in chosen):
            return self.refuse("an expert without a token")
        with double_throughout():
            in_double, _ = routes(theirs.double(), ids)
        theirs.float()
        if any((a != b).any() for a, b in zip(chosen, in_double)):
            return self.refuse("FP32 and FP64 choose other experts")
        if (noise := self.noise()) > 2e-5:
            return self.refuse(f"transformers' own FP32 gradients are {noise:.0e} from its FP64")
        prompts = torch.stack([row[start:start + PROMPT] for row in ids for start in (0, 8, 16, 24)])
        texts, gaps = greedy(theirs, prompts)
        best = max(range(len(texts)), key=lambda i: len(texts[i].unique()))  # the one that loops latest
        self.prompt, self.text, self.gaps = prompts[best], texts[best], gaps[best].tolist()
        if len(self.text.unique()) < 32:
            self.refuse(f"greedy text of {len(self.text.unique())} different tokens")

    def noise(self):
        """Largest relative distance of a gradient in FP32 from the same in FP64: a draw must not blow rounding up."""
        def gradients():
            self.theirs.zero_grad()
            (-log_probs(self.theirs, self.ids).mean()).backward()
            return {n: p.grad.double().clone() for n, p in self.theirs.named_parameters() if p.grad is not None}
        single = gradients()
        with double_throughout():
            self.theirs.double()
            double = gradients()
        self.theirs.float()
        self.theirs.zero_grad()
        return max(float((single[n] - g).norm() / g.norm()) for n, g in double.items() if float(g.norm()) > 0)

    def refuse(self, reason):
        self.reason = reason

    def expected(self):
        theirs, ids = self.theirs, self.ids
        loss = -log_probs(theirs, ids).mean()
        loss.backward()
        tensors = {"log_probs": self.values.contiguous(), "tokens": ids.int()}
        for name, p in theirs.named_parameters():
            if p.numel() and p.grad is not None:
                for stored, piece in per_expert(name, p.grad):
                    tensors["g." + stored] = piece.clone().contiguous()
        theirs.zero_grad()
        kept = {n: t.clone() for n, t in list(theirs.named_parameters()) + list(theirs.named_buffers())}
        to_bf16(theirs)
        more = torch.randint(0, self.c.vocab_size, (MORE_SEQUENCES, LENGTH), generator=torch.Generator().manual_seed(3))
        with torch.no_grad():
            in_bf16 = log_probs(theirs, more)
        theirs.float()
        with torch.no_grad():
            for name, t in list(theirs.named_parameters()) + list(theirs.named_buffers()):
                t.copy_(kept[name])
            tensors |= {"more_tokens": more.int(), "more_log_probs": log_probs(theirs, more).contiguous(),
                        "more_log_probs_bf16": in_bf16.contiguous()}
        self.trace = trace(theirs, ids[0])
        losses = adamw_losses(theirs, ids)
        with torch.no_grad():
            for name, t in list(theirs.named_parameters()) + list(theirs.named_buffers()):
                t.copy_(kept[name])
        with double_throughout():
            in_double = adamw_losses(theirs.double(), ids)
        if max(abs(a - b) for a, b in zip(losses, in_double)) > 2e-5:
            self.refuse(f"FP32 and FP64 lose each other by {max(abs(a - b) for a, b in zip(losses, in_double)):.0e} in "
                        "training")
        if losses[0] - losses[-1] < 0.5:
            self.refuse(f"AdamW lowers the loss from {losses[0]:.3f} to {losses[-1]:.3f} only")
        return tensors, dict(loss=float(loss.detach()), losses=losses, prompt=self.prompt.tolist(),
                             text=self.text.tolist(), gaps=self.gaps, distinct=len(self.text.unique()),
                             summary=self.summary())

    def summary(self):
        c, o = self.c, self.options
        return (f"{o['family']} {o['storage']} {o['files']} rope {o['spelling']}; hidden {c.hidden_size}, {c.n_layers} "
                f"layers ({c.n_dense_layers} dense), {c.attention}, q_lora {c.q_lora_rank}, {c.n_routed_experts} "
                f"experts in {c.n_groups} groups, top {c.n_experts_per_token}, shared {c.n_shared_experts}, "
                f"yarn {c.yarn['factor']:g}, bias {o['bias']}")


def make_case(directory, index, choice):
    for attempt in range(40):
        draw = Draw(index, choice, attempt, f"{directory}/case_{index:03d}")
        if draw.reason is None:
            tensors, facts = draw.expected()
        if draw.reason is None:
            save_file(tensors, f"{directory}/case_{index:03d}/expected.safetensors.data")
            save_file(draw.trace, f"{directory}/case_{index:03d}/trace.safetensors.data")
            with open(f"{directory}/case_{index:03d}/expected.json", "w") as f:
                json.dump(facts | dict(attempt=attempt, config=describe(choice)[0], options=draw.options), f)
            return draw
        last = draw.reason
        if os.environ.get("HF_GRID_TALK"):
            print(f"case {index} attempt {attempt}: {last}", flush=True)
    raise SystemExit(f"case {index}: no usable draw in 40, the last: {last}; {draw.summary()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("--heads", action="store_true")
    parser.add_argument("--cases", type=int, default=64)
    parser.add_argument("--only", help="comma-separated case numbers")
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    os.makedirs(args.directory, exist_ok=True)
    choices = sample(args.cases, 5, HEADS) if args.heads else sample(args.cases)
    for i in [int(i) for i in args.only.split(",")] if args.only else range(args.cases):
        draw = make_case(args.directory, i, choices[i])
        print(f"case {i}: {draw.summary()}", flush=True)


if __name__ == "__main__":
    main()
