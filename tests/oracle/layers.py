"""Writes single layers for the C++ tests: DIR/layers.json (cases: kind, configuration, batch, facts) and
DIR/layers.safetensors (CASE/in.NAME inputs, w.NAME weights, out.NAME results, dout.NAME their gradients, din.NAME and
g.NAME what autograd makes of them for inputs and weights). Everything in double precision, from the oracle's formulas.

usage: layers.py DIR [--faults] [--fp16]
With --faults: DIR/N for every fault of the list below, with only the cases of the kind that must notice: one formula is
wrong, or every number is off by 1e-9.
With --fp16: weights, inputs and gradients of results are FP16 numbers (what a model keeps high is FP32), so that a
layer of FP16 is given the very same; and there are cases "store": float32 and what torch makes of them in FP16.
"""
import argparse
import itertools
import json
import os
import random
from dataclasses import dataclass, field

import torch
from safetensors.torch import save_file

from grid import make_batch, random_weights
from model import Config, Model, Result

NUDGE = 1e-9
BASE = dict(vocab_size=19, hidden_size=20, n_layers=1, n_dense_layers=1, n_heads=3, q_lora_rank=10, kv_lora_rank=12,
            qk_nope_head_dim=6, qk_rope_head_dim=4, v_head_dim=5, dense_ffn_size=18, expert_ffn_size=7,
            n_routed_experts=8, n_shared_experts=2, n_experts_per_token=3, n_groups=4, n_limited_groups=2,
            routed_scale=2.5)
YARN = [dict(), dict(factor=4.0, original_positions=16, mscale=1.0, mscale_all_dim=1.0),
        dict(factor=40.0, original_positions=64, mscale=0.707, mscale_all_dim=1.0, beta_fast=8.0),
        dict(factor=2.0, original_positions=4096, mscale=1.0, mscale_all_dim=0.0)]
HEADS = [dict(n_heads=3, qk_nope_head_dim=6, qk_rope_head_dim=4, v_head_dim=5),
         dict(n_heads=1, qk_nope_head_dim=3, qk_rope_head_dim=2, v_head_dim=7),
         dict(n_heads=4, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=12)]
LENGTHS = [[23, 9], [5, 1, 17], [40], [3]]
EXPERTS = [(8, 4, 2, 3), (7, 1, 1, 3), (4, 1, 1, 1), (10, 2, 2, 4), (12, 4, 1, 3), (8, 2, 1, 2), (4, 1, 1, 4)]


class Layers(Model):
    """The oracle's model, and the layers too simple to have a method there."""

    def linear(self, x):
        return x @ self.w["weight"].T

    def embed(self, ids):
        return self.w["weight"][ids]

    def losses(self, h, targets):
        return self.nll(h @ self.w["weight"].T, targets)


# ---- faults: (kind that must notice, oracle with one wrong formula) ----
class TransposedOnTheDiagonal(Layers):
    def linear(self, x):
        w = self.w["weight"]
        return x @ torch.cat([w[:-1], w[-1:].detach()]).T  # the last row gets no gradient


class EpsilonOutsideTheRoot(Layers):
    def norm(self, x, name, eps=None):
        eps = self.c.rms_eps if eps is None else eps
        return x / ((x * x).mean(-1, keepdim=True).sqrt() + eps) * self.w[name]


class RepeatedIdsCountOnce(Layers):
    def embed(self, ids):
        seen, rows = set(), []
        for i in ids:
            rows.append(self.w["weight"][i].detach() if i in seen else self.w["weight"][i])
            seen.add(i)
        return torch.stack(rows)


class GateAndUpSwapped(Layers):
    def ffn(self, x, prefix):
        gate, up = x @ self.w[prefix + "up"].T, x @ self.w[prefix + "gate"].T
        return (gate * torch.sigmoid(gate) * up) @ self.w[prefix + "down"].T


class NoTargetIsTokenZero(Layers):
    def nll(self, logits, targets):
        return super().nll(logits, [max(t, 0) for t in targets])


class BoundsForgotten(Layers):
    def may_see(self, i, j, batch, rows):
        return rows[j] <= rows[i]


class ScaleWithoutItsCorrection(Layers):
    def softmax_scale(self, length):
        return (self.c.qk_nope_head_dim + self.c.qk_rope_head_dim) ** -0.5


class BiasInTheWeights(Layers):
    def mixing_weights(self, scores, bias, experts):
        return super().mixing_weights(scores if bias is None else scores + bias, None, experts)


class BalanceWithoutGradient(Layers):
    def balance_shares(self, scores, experts):
        return super().balance_shares(scores, experts).detach()


class OneNormForBothPieces(Layers):
    def norm(self, x, name, eps=None):
        return super().norm(x, name.replace("ffn_norm", "attention_norm"), eps)


class HiddenBeforeEmbedding(Layers):
    def mtp_concat(self, embedding, hidden):
        return torch.cat([hidden, embedding], dim=-1)


FAULTS = {
    "a row of a linear layer gets no gradient": ("linear", TransposedOnTheDiagonal),
    "epsilon stands outside the root": ("norm", EpsilonOutsideTheRoot),
    "a repeated id gets one gradient": ("embedding", RepeatedIdsCountOnce),
    "gate and up are swapped": ("mlp", GateAndUpSwapped),
    "a row without target counts as token 0": ("head", NoTargetIsTokenZero),
    "documents see one another": ("mla", BoundsForgotten),
    "the softmax scale lacks its YaRN factor": ("mla", ScaleWithoutItsCorrection),
    "mixing weights contain the bias": ("moe", BiasInTheWeights),
    "the balance loss has no gradient": ("moe", BalanceWithoutGradient),
    "both pieces use one norm": ("block", OneNormForBothPieces),
    "hidden state stands before the embedding": ("mtp", HiddenBeforeEmbedding),
} | {f"every number of {kind} is off by 1e-9": (kind, Layers)
     for kind in ("linear", "norm", "embedding", "mlp", "head", "mla", "moe", "block", "mtp")}


# ---- recording one layer ----
@dataclass
class Outcome:
    outputs: dict                                  # get a random gradient each
    extra: torch.Tensor = None                     # a loss of the layer's own
    observed: dict = field(default_factory=dict)   # compared, no gradient
    facts: dict = field(default_factory=dict)      # numbers for the JSON


KEPT_HIGH = ("norm", "moe.router", "moe.bias")  # parts of names


class Writer:
    def __init__(self, oracle, nudge, fp16):
        self.oracle, self.nudge, self.fp16, self.tensors, self.cases = oracle, nudge, fp16, {}, []

    def given(self, tensors, kind):
        """The same in the numbers that a layer of FP16 has."""
        if not self.fp16:
            return tensors
        high = {n for n in tensors if kind == "norm" or any(part in n for part in KEPT_HIGH)}
        return {n: (t.float() if n in high else t.half()).double() for n, t in tensors.items()}

    def random(self, *shape):
        generator = torch.Generator().manual_seed(31 * len(self.tensors) + len(self.cases))
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def add(self, kind, weights, inputs, layer, config=None, batch=None, **facts):
        """layer(model, inputs) -> Outcome"""
        name = f"{kind}_{len(self.cases):03d}"
        weights = self.given(weights, kind)
        inputs = self.given(inputs, "")
        leaves = {n: w.clone().requires_grad_(not n.endswith("moe.bias")) for n, w in weights.items()}
        xs = {n: x.clone().requires_grad_() for n, x in inputs.items()}
        outcome = layer(self.oracle(Config(config or {}), leaves), xs)
        gradients = self.given({n: self.random(*y.shape) for n, y in outcome.outputs.items()}, "")
        total = sum([(y * gradients[n]).sum() for n, y in outcome.outputs.items()],
                    torch.zeros((), dtype=torch.float64))
        total = total if outcome.extra is None else total + outcome.extra
        wanted = {"g." + n: w for n, w in leaves.items() if w.requires_grad} | {"din." + n: x for n, x in xs.items()}
        found = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
        result = {n: torch.zeros_like(wanted[n]) if g is None else g for n, g in zip(wanted, found)}
        result |= {"out." + n: y.detach() for n, y in (outcome.outputs | outcome.observed).items()}
        given = {"w." + n: w for n, w in weights.items()} | {"in." + n: x for n, x in inputs.items()}
        given |= {"dout." + n: g for n, g in gradients.items()}
        for n, t in (given | {n: t * (1 + self.nudge) for n, t in result.items()}).items():
            self.tensors[f"{name}/{n}"] = t.detach().clone().contiguous()
        case = dict(name=name, kind=kind, config=config or {}, facts=facts | outcome.facts)
        if batch is not None:
            case["batch"] = dict(tokens=batch.tokens, targets=batch.targets, segments=batch.segments,
                                 sequences=batch.sequences,
                                 positions=[batch.position(i) for i in range(len(batch.tokens))])
        self.cases.append(case)


def batch_of(lengths, masked, seed):
    return make_batch(dict(lengths=lengths, masked=masked, masked_targets=False, open_end=False), BASE["vocab_size"],
                      random.Random(seed))


def all_rows(batch):
    return list(range(len(batch.tokens)))


# ---- the kinds ----
def linear(w):
    for rows, n_in, n_out in [(9, 131, 5), (1, 1, 1), (130, 64, 33), (33, 300, 70)]:
        w.add("linear", {"weight": w.random(n_out, n_in)}, {"x": w.random(rows, n_in)},
              lambda m, x: Outcome({"y": m.linear(x["x"])}))


def norm(w):
    for (rows, n), eps in itertools.product([(6, 12), (33, 257), (1, 1)], [1e-6, 1e-2]):
        w.add("norm", {"weight": 1 + 0.3 * w.random(n)}, {"x": w.random(rows, n)},
              lambda m, x, eps=eps: Outcome({"y": m.norm(x["x"], "weight", eps)}), eps=eps)


def embedding(w):
    for vocab, width, ids in [(7, 4, [3, 0, 3, 6, 3]), (50, 33, [random.Random(5).randrange(50) for _ in range(200)])]:
        w.add("embedding", {"weight": w.random(vocab, width)}, {}, lambda m, x, ids=ids: Outcome({"y": m.embed(ids)}),
              ids=ids)


def mlp(w):
    for rows, hidden, inner in [(5, 6, 10), (131, 40, 33), (1, 3, 1)]:
        weights = {"gate": w.random(inner, hidden), "up": w.random(inner, hidden), "down": w.random(hidden, inner)}
        w.add("mlp", weights, {"x": w.random(rows, hidden)}, lambda m, x: Outcome({"y": m.ffn(x["x"], "")}))


def head(w):
    for rows, hidden, vocab, every in [(300, 6, 11, 5), (17, 20, 130, 3), (4, 5, 7, 1)]:
        draw = random.Random(rows)
        targets = [-1 if i % every == 0 else draw.randrange(vocab)
                   for i in range(rows)]  # every = 1: no valid target at all

        def layer(m, x, targets=targets):
            nll = m.losses(x["h"], targets)
            return Outcome({}, 0.25 * nll.sum() + 0.0 * x["h"].sum(), {"log_probs": -nll},
                           dict(loss=float(nll.sum().detach())))

        w.add("head", {"weight": w.random(vocab, hidden)}, {"h": w.random(rows, hidden)}, layer, targets=targets,
              scale=0.25)


def mla(w):
    choices = list(itertools.product([0, 10], YARN, [False, True]))
    for i, (q_lora, yarn, masked) in enumerate(choices + [(10, YARN[1], False), (0, {}, True)]):
        long = i >= len(choices)
        config = BASE | HEADS[i % len(HEADS)] | dict(q_lora_rank=q_lora, latent_norm_eps=1e-6 if i % 2
                                                     else 1e-3) | (dict(yarn=yarn) if yarn else {})
        batch = batch_of([170, 30] if long else LENGTHS[i % len(LENGTHS)], masked, i)
        x = w.random(len(batch.tokens), config["hidden_size"])
        w.add("mla", random_weights(Config(config), "small", i), {"x": x},
              lambda m, x, b=batch: Outcome({"y": m.attention(x["x"], "layers.0.attention.", b, all_rows(b))}), config,
              batch)


def moe_outcome(y, result):
    return Outcome({"y": y}, result.balance, {}, dict(routes=[e for r in result.routes for row in r for e in row],
                                                      load=result.expert_load, balance=float(result.balance.detach())))


def new_result():
    return Result(balance=torch.zeros((), dtype=torch.float64))


def moe(w):
    for i in range(42):
        experts, groups, limited, k = EXPERTS[i % 7]
        bias = ["none", "small", "far", "negative"][i // 2 % 4]
        config = BASE | dict(n_dense_layers=0, n_shared_experts=i % 3, n_routed_experts=experts, n_groups=groups,
                             n_limited_groups=limited, n_experts_per_token=k,
                             score_function=["sigmoid", "softmax"][i // 3 % 2], group_score=["top2_sum", "max"][i % 2],
                             normalize_top_k=i // 4 % 2 == 0, routed_scale=[1.0, 2.5][i // 5 % 2],
                             selection_bias=bias != "none")
        batch, alpha = batch_of(LENGTHS[i % len(LENGTHS)], i % 2 == 1, i), [0.3, 0.05, 0.0][i % 5 % 3]
        weights = random_weights(Config(config), bias, i)
        if i % 6 == 5 and bias != "none":  # most experts get no token
            weights["layers.0.moe.bias"][:k] += 100.0

        def layer(m, x, b=batch, alpha=alpha):
            result = new_result()
            sequences = [list(range(begin, begin + n)) for begin, n in b.sequences]
            return moe_outcome(m.moe(x["x"], "layers.0.moe.", sequences, result, alpha), result)

        w.add("moe", weights, {"x": w.random(len(batch.tokens), config["hidden_size"])}, layer, config, batch,
              alpha=alpha)


def block(w):
    for i, (dense, q_lora, masked) in enumerate(itertools.product([0, 1], [0, 10], [False, True])):
        config = BASE | dict(n_dense_layers=dense, q_lora_rank=q_lora, yarn=YARN[1])
        batch = batch_of(LENGTHS[i % 3], masked, i)

        def layer(m, x, b=batch):
            result = new_result()
            return moe_outcome(m.block(x["x"], 0, b, all_rows(b), result, 0.1), result)

        w.add("block", random_weights(Config(config), "small", i),
              {"x": w.random(len(batch.tokens), config["hidden_size"])}, layer, config, batch, alpha=0.1)


def mtp(w):
    for i, (experts, depth, masked) in enumerate(itertools.product([0, 8], [1, 2], [False, True])):
        config = BASE | dict(n_mtp=2, n_routed_experts=experts) | (dict(n_groups=1, n_limited_groups=1,
                                                                        n_experts_per_token=1) if not experts else {})
        batch = batch_of(LENGTHS[i % 3], masked, i)
        rows = Layers(Config(config), {}).mtp_rows(batch, depth)

        def layer(m, x, b=batch, rows=rows, number=depth):
            result, at = new_result(), m.c.n_layers + number - 1
            e_norm, h_norm = m.mtp_norm_names(at)
            joined = m.mtp_concat(m.norm(x["embedding"], e_norm), m.norm(x["hidden"], h_norm))
            y = m.block(joined @ m.w[f"layers.{at}.mtp.projection"].T, at, b, rows, result, 0.1)
            return moe_outcome(m.norm(y, m.mtp_final_norm(at)), result)

        inputs = {n: w.random(len(rows), config["hidden_size"]) for n in ("embedding",)}
        inputs["hidden"] = 2 * w.random(len(rows), config["hidden_size"]).flip(0)
        w.add("mtp", random_weights(Config(config), "small", i), inputs, layer, config, batch, alpha=0.1, depth=depth,
              rows=rows)


def store(w):
    """All FP16 numbers, what lies half-way between neighbours, the floats beside those, and random patterns."""
    codes = torch.arange(0x7c00, dtype=torch.int32).to(torch.int16).view(torch.float16).float()
    middles = torch.cat([(codes[:-1] + codes[1:]) / 2, torch.tensor([65520.0])])
    beside = [torch.nextafter(middles, torch.full_like(middles, to)) for to in (-torch.inf, torch.inf)]
    generator = torch.Generator().manual_seed(5)
    patterns = torch.randint(-2**31, 2**31 - 1, (200_003,), generator=generator).to(torch.int32).view(torch.float32)
    published = torch.tensor([1e-8, 2.9e-8, 3e-8, 6.1e-5, 65519.9, 65520.0, torch.inf])
    x = torch.cat([codes, middles, *beside, published, patterns[~patterns.isnan()]])
    x = torch.cat([x, -x]).view(1, -1)
    w.tensors["store_000/in.x"], w.tensors["store_000/out.y"] = x, x.half()
    w.cases.append(dict(name="store_000", kind="store", config={}, facts={}))


KINDS = dict(linear=linear, norm=norm, embedding=embedding, mlp=mlp, head=head, mla=mla, moe=moe, block=block, mtp=mtp)


def write(directory, kinds, oracle, nudge, fp16):
    os.makedirs(directory, exist_ok=True)
    writer = Writer(oracle, nudge, fp16)
    for kind in kinds:
        KINDS[kind](writer)
    if fp16:
        store(writer)
    save_file(writer.tensors, os.path.join(directory, "layers.safetensors"))
    with open(os.path.join(directory, "layers.json"), "w", encoding="utf-8") as out:
        json.dump(writer.cases, out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("--faults", action="store_true", help="DIR/N for every fault, with DIR/N/fault.txt")
    parser.add_argument("--fp16", action="store_true", help="of FP16 numbers")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if not args.faults:
        return write(args.directory, KINDS, Layers, 0.0, args.fp16)
    for i, (name, (kind, oracle)) in enumerate(FAULTS.items()):
        path = os.path.join(args.directory, str(i))
        write(path, [kind], oracle, NUDGE if oracle is Layers else 0.0, args.fp16)
        with open(os.path.join(path, "fault.txt"), "w", encoding="utf-8") as out:
            out.write(name)


if __name__ == "__main__":
    main()
