"""Sampled models and FP8 recipes for the C++ tests, with the gradients of fp8_model.py: what generate.py is to its
grid.

usage: fp8_cases.py DIR [--only I,J,...] [--again N] [--faults | --choose-draws]
Writes DIR/case_NNN.* as generate.py does, with the settings of [fp8]. --again N: with other weights. --faults: DIR/N
for each fault that fp8_model.py lists, with some cases: one rule is wrong, which the comparison must notice.
"""
import argparse
import json
import os
import random

import torch

from fp8_layers import EXACT, OCP, POWER
from fp8_model import FAULTS, KINDS, model_of
from generate import run, write_case
from grid import make_batch, random_weights
from model import Config, LossWeights

DRAWS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fp8_draws.json")
N_CASES, N_MX = 64, 16  # of the report's recipe and its variations, then of blocks of MX
CASES_OF_FAULTS = [0, 1, 2, 4, 9, 11, 13, 19, 22, 38]


def experts_of(n, top, groups=1, limited=1):
    return dict(n_routed_experts=n, n_experts_per_token=top, n_groups=groups, n_limited_groups=limited)


SHAPES = dict(
    hidden_size=[13, 20, 33, 40, 65, 129, 136], n_heads=[1, 2, 3], q_lora_rank=[0, 7, 33, 130],
    kv_lora_rank=[5, 12, 33, 65], dense_ffn_size=[9, 33, 70, 129], expert_ffn_size=[3, 8, 33, 65, 131],
    n_shared_experts=[0, 1, 2], vocab_size=[11, 32, 67], n_mtp=[0, 1, 2], rope_theta=[50.0, 10000.0],
    rms_eps=[1e-6, 1e-3], score_function=["sigmoid", "softmax"], normalize_top_k=[True, False])
HEADS = [(8, 4, 8), (5, 2, 3), (3, 6, 7), (40, 8, 33), (64, 2, 129)]
LAYERS = [(1, 0), (2, 1), (3, 1), (1, 1), (2, 0)]
EXPERTS = [experts_of(2, 1), experts_of(4, 1), experts_of(7, 3), experts_of(8, 2, 2), experts_of(12, 3, 4, 2)]
LENGTHS = [[16], [23, 9], [5, 1, 17], [3], [40], [129], [150, 20], [257], [300]]
FP8 = dict(tile=[128, 64, 32], input_scales=[EXACT, POWER], gradient_scales=[EXACT, POWER],
           weight_scales=[EXACT, POWER], attention_output=["e5m6", "e5m6", "e4m3", "bf16"],
           swiglu_inputs=["e4m3", "e4m3", "e5m6", "bf16"])
OPTIONS = dict(attention_form=["up_projected", "absorbed"], recompute=["none", "norms", "all"],
               loss_chunk_tokens=[0, 7], threads=[1, 2])


def width(c):
    """Roughly the elements of a token that one layer quantises."""
    heads = c["n_heads"] * (c["qk_nope_head_dim"] + c["qk_rope_head_dim"] + c["v_head_dim"])
    top = c["n_experts_per_token"] + c["n_shared_experts"]
    return 12 * c["hidden_size"] + 4 * heads + 3 * c["kv_lora_rank"] + (top + 1) * 8 * c["expert_ffn_size"]


def sampled(index):
    """Configuration, options, traits and settings of [fp8]; not too many elements, of which one may lie so near a
    border of codes that FP32 rounds it to the other side."""
    draw = random.Random(5000 + index)
    lengths = LENGTHS[index % len(LENGTHS)]
    while True:
        c = {name: draw.choice(levels) for name, levels in SHAPES.items()}
        c |= dict(zip(("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"), draw.choice(HEADS)))
        c |= dict(zip(("n_layers", "n_dense_layers"), draw.choice(LAYERS))) | draw.choice(EXPERTS)
        layers = c["n_layers"] + c["n_mtp"]
        if sum(lengths) * width(c) * layers < 250000:
            break
    kind = draw.choice(["none", "small", "far", "far"])
    c["selection_bias"] = kind != "none"
    settings = {name: draw.choice(levels) for name, levels in FP8.items()}
    if index >= N_CASES:
        kept = {name: settings[name] for name in ("attention_output", "swiglu_inputs")}
        settings = dict(mx_scales=draw.choice(["round_up", OCP])) | kept
    settings["high"] = draw.sample(KINDS, draw.choice([0, 0, 1, 2]))
    for name in ("high_first_layers", "high_last_layers"):
        settings[name] = draw.choice([0, 0, 1]) if c["n_layers"] > 1 + settings.get("high_first_layers", 0) else 0
    options = {name: draw.choice(levels) for name, levels in OPTIONS.items()} | dict(split=False)
    traits = dict(bias=kind, lengths=lengths, masked=draw.random() < 0.5, masked_targets=draw.random() < 0.5,
                  open_end=draw.random() < 0.5)
    return c, options, traits, settings


def build(index, attempt):
    c, options, traits, settings = sampled(index)
    draw = random.Random(7000 + index)
    batch = make_batch(traits, c["vocab_size"], draw)
    n = max(len(batch.tokens), 24)
    loss_weights = dict(main=1.0 / n, mtp=[0.3 / n] * c["n_mtp"], balance=0.05 / len(batch.sequences))
    weights = random_weights(Config(c), traits["bias"], 11 + index + 1000 * attempt)
    return (c, options, traits, batch, loss_weights, weights), settings


def error_in_single_precision(case, settings, result, gradients):
    """The worst error of the same model in torch's FP32, whose embedding was moved by more than roundings do, in units
    of the bound; where no code falls to the other side of a border it is far below 1."""
    config, options, _, batch, loss_weights, weights = case
    worst = 0.0
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        moved = dict(weights)
        moved["embedding"] = weights["embedding"] * (1 + 2e-6 * torch.randn(weights["embedding"].shape,
                                                                            generator=generator, dtype=torch.float64))
        leaves = {n: w.float().requires_grad_(n in gradients) for n, w in moved.items()}
        model, routes = model_of(settings, options)(Config(config), leaves), iter([r for r in result.routes if r])
        model.select = lambda scores, bias, routes=routes: torch.tensor(next(routes))
        total = model.forward(batch, LossWeights(**loss_weights)).total
        found = torch.autograd.grad(total, [leaves[n] for n in gradients], allow_unused=True)
        for (name, g), other in zip(gradients.items(), found):
            error = g if other is None else g - other
            worst = max(worst, float(error.norm()) / (2e-3 * float(g.norm()) + 1e-8 * error.numel() ** 0.5))
        if worst > 0.2:
            break
    return worst


def best_draw(index):
    best, least = 0, float("inf")
    for attempt in range(100):
        case, settings = build(index, attempt)
        result, gradients, _ = run(model_of(settings, case[1]), case)
        error = error_in_single_precision(case, settings, result, gradients)
        if error < least:
            best, least = attempt, error
        if error < 0.2:
            break
    print(f"case {index}: draw {best}, {least:.3f} of the bound", flush=True)
    return best


def assignments(settings):
    """As a user writes them."""
    precision = "mxfp8" if "mx_scales" in settings else "fp8"
    return [f"train.precision={precision}"] + [f"fp8.{name}={json.dumps(value)}" for name, value in settings.items()]


def write(directory, numbers, again=0, fault=""):
    with open(DRAWS, encoding="utf-8") as file:
        draws = json.load(file)
    for i in numbers:
        case, settings = build(i, draws[i] + 1000 * again)
        config, options, traits = case[:3]
        outcome = run(model_of(settings, options, fault), case)
        write_case(directory, i, (config, options | dict(fp8=assignments(settings)), traits, *case[3:]), outcome)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("--only", help="comma-separated case numbers")
    parser.add_argument("--again", type=int, default=0, help="the so many-th other draw of weights")
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--choose-draws", action="store_true",
                        help="write fp8_draws.json (after a change of what is sampled), nothing else")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.choose_draws:
        draws = [best_draw(i) for i in range(N_CASES + N_MX)]
        with open(DRAWS, "w", encoding="utf-8") as out:
            json.dump(draws, out)
        return
    if not args.faults:
        return write(args.directory, map(int, args.only.split(",")) if args.only else range(N_CASES + N_MX), args.again)
    for number, fault in enumerate(FAULTS):
        directory = os.path.join(args.directory, str(number))
        os.makedirs(directory)
        write(directory, CASES_OF_FAULTS, fault=fault)
        with open(os.path.join(directory, "fault.txt"), "w", encoding="utf-8") as file:
            file.write(fault)


if __name__ == "__main__":
    main()
