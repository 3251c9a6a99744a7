"""Writes layers of attention and of experts under the FP8 recipe for the C++ tests: DIR/fp8_parts.json (cases: kind,
configuration, settings of [fp8], form of attention, batch, routes) and DIR/fp8_parts.safetensors: CASE/DRAW/in.x,
dout.y, w.NAME, and what they give, out.y, din.x, g.NAME. The layers are those of fp8_model.py, whose quantiser and
products are its own. A mixture of experts comes with its norm and residual. Each case has several draws of its numbers:
one of them may lie so near a border of two codes that FP32 rounds it to the other side.

usage: fp8_parts.py DIR [--faults]
With --faults: DIR/N for each fault that fp8_model.py lists, with some cases: one rule is wrong, which the comparison
must notice.
"""
import argparse
import json
import os
import random

import torch
from safetensors.torch import save_file

from fp8_cases import assignments
from fp8_layers import EXACT, OCP, POWER
from fp8_layers import random as spread
from fp8_model import FAULTS, model_of
from grid import make_batch, random_weights
from layers import BASE, new_result
from model import Config

DRAWS = 3
CASES_OF_FAULTS = [0, 1, 4, 5, 20, 22, 24]
WIDE = dict(hidden_size=136, n_heads=3, q_lora_rank=33, kv_lora_rank=65, qk_nope_head_dim=40, qk_rope_head_dim=8,
            v_head_dim=33)


def report(**changed):
    return dict(tile=128, input_scales=EXACT, gradient_scales=EXACT, weight_scales=EXACT, attention_output="e5m6",
                swiglu_inputs="e4m3", high=[], high_first_layers=0, high_last_layers=0) | changed


def blocks(scales, **changed):
    kept = dict(attention_output="e5m6", swiglu_inputs="e4m3", high=[], high_first_layers=0, high_last_layers=0)
    return dict(mx_scales=scales) | kept | changed


def experts_of(n, top, groups, limited, shared, width):
    return dict(n_routed_experts=n, n_experts_per_token=top, n_groups=groups, n_limited_groups=limited,
                n_shared_experts=shared, expert_ffn_size=width,
                normalize_top_k=top > 1)  # of one alone the weight would be 1


ATTENTION = [  # of a configuration what differs from BASE, [fp8], lengths of the sequences
    (WIDE, report(), [23, 9]),
    (WIDE | dict(q_lora_rank=0), report(), [40]),
    (WIDE | dict(kv_lora_rank=130, q_lora_rank=130), report(), [5, 1, 17]),
    (dict(), report(), [130, 20]),
    (dict(hidden_size=65), report(tile=32, weight_scales=POWER), [40]),
    (WIDE, report(input_scales=POWER, gradient_scales=POWER), [23, 9]),
    (dict(q_lora_rank=0), report(attention_output="e4m3"), [33]),
    (WIDE, report(high=["kv_b", "q_a"], attention_output="bf16"), [16]),
    (WIDE, blocks("round_up"), [33]),
    (dict(), blocks(OCP), [40, 3]),
]
EXPERTS = [
    (experts_of(8, 3, 4, 2, 2, 33), report(), [23, 9]),
    (experts_of(4, 1, 1, 1, 0, 131), report(), [130, 20]),
    (experts_of(2, 1, 1, 1, 1, 33), report(), [150]),  # tiles of tokens end inside an expert's rows
    (experts_of(12, 3, 4, 2, 1, 8), report(), [3]),  # experts without a token
    (experts_of(7, 3, 1, 1, 1, 65), report(swiglu_inputs="e5m6"), [40]),
    (experts_of(8, 2, 2, 1, 2, 20), report(tile=32, weight_scales=POWER), [70]),
    (experts_of(8, 3, 4, 2, 1, 33), report(input_scales=POWER, gradient_scales=POWER), [23, 9]),
    (experts_of(4, 2, 1, 1, 1, 40), report(high=["experts_down"], swiglu_inputs="bf16"), [33]),
    (experts_of(8, 3, 4, 2, 1, 33), blocks("round_up"), [40]),
    (experts_of(4, 2, 1, 1, 2, 40), blocks(OCP), [33]),
]


def attention(m, x, batch, alpha):
    return m.attention(x, "layers.0.attention.", batch, list(range(len(x)))), new_result()


def experts(m, x, batch, alpha):
    result = new_result()
    sequences = [list(range(begin, begin + n)) for begin, n in batch.sequences]
    return x + m.moe(m.norm(x, "layers.0.ffn_norm"), "layers.0.moe.", sequences, result, alpha), result


def cases():
    for i, (shape, fp8, lengths) in enumerate(ATTENTION):
        for form in ("up_projected", "absorbed"):
            yield f"attention {i} {form}", attention, BASE | shape, fp8, form, lengths, 0.0
    for i, (shape, fp8, lengths) in enumerate(EXPERTS):
        config = BASE | dict(hidden_size=136, n_dense_layers=0, selection_bias=i % 2 == 0,
                             score_function=["sigmoid", "softmax"][i // 2 % 2]) | shape
        yield f"experts {i}", experts, config, fp8, "up_projected", lengths, [0.1, 0.0][i % 3 // 2]


def drawn(layer, config, fp8, form, batch, alpha, seed, fault):
    """Tensors of one draw, and the result."""
    generator = torch.Generator().manual_seed(seed)
    rows, hidden = len(batch.tokens), config["hidden_size"]
    x, dy = spread(generator, rows, hidden).double(), spread(generator, rows, hidden, size=0.01).double()
    if layer is attention:  # what it reads comes from a norm
        x = (x / x.pow(2).mean(-1, keepdim=True).sqrt()).float().double()
    weights = random_weights(Config(config), "small", seed)
    weights = {n: w for n, w in weights.items() if n.startswith("layers.0.")}
    leaves = {n: w.clone().requires_grad_(not n.endswith("moe.bias")) for n, w in weights.items()}
    leaf = x.clone().requires_grad_()
    model = model_of(fp8, dict(attention_form=form), fault)(Config(config), leaves)
    y, result = layer(model, leaf, batch, alpha)
    trained = [n for n, w in leaves.items() if w.requires_grad]
    found = torch.autograd.grad((y * dy).sum() + result.balance, [leaf] + [leaves[n] for n in trained],
                                allow_unused=True)
    tensors = {"in.x": x, "dout.y": dy, "out.y": y.detach(), "din.x": found[0]}
    tensors |= {"w." + n: w for n, w in weights.items()}
    tensors |= {"g." + n: g for n, g in zip(trained, found[1:]) if g is not None}
    return tensors, result


def write(directory, fault=""):
    listed, tensors = [], {}
    for i, (name, layer, config, fp8, form, lengths, alpha) in enumerate(cases()):
        if fault and i not in CASES_OF_FAULTS:
            continue
        traits = dict(lengths=lengths, masked=i % 2 == 1, masked_targets=False, open_end=False)
        batch = make_batch(traits, config["vocab_size"], random.Random(i))
        routes = []
        for draw in range(DRAWS):
            made, result = drawn(layer, config, fp8, form, batch, alpha, 100 * i + draw, fault)
            routes.append([e for layer_routes in result.routes for row in layer_routes for e in row])
            tensors |= {f"{name}/{draw}/{n}": t.clone().contiguous() for n, t in made.items()}
        listed.append(dict(name=name, config=config, fp8=assignments(fp8), form=form, alpha=alpha, routes=routes,
                           batch=dict(tokens=batch.tokens, targets=batch.targets, segments=batch.segments,
                                      sequences=batch.sequences,
                                      positions=[batch.position(row) for row in range(len(batch.tokens))])))
    save_file(tensors, os.path.join(directory, "fp8_parts.safetensors"))
    with open(os.path.join(directory, "fp8_parts.json"), "w", encoding="utf-8") as out:
        json.dump(listed, out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("--faults", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if not args.faults:
        return write(args.directory)
    for number, fault in enumerate(FAULTS):
        directory = os.path.join(args.directory, str(number))
        os.makedirs(directory)
        write(directory, fault)
        with open(os.path.join(directory, "fault.txt"), "w", encoding="utf-8") as file:
            file.write(fault)


if __name__ == "__main__":
    main()
