"""The negative control of hf_grid.py: every known mistake, put in on purpose, must move the numbers ten times beyond
what is tolerated.

usage: hf_traps.py DIRECTORY [--cases 64]     prints one line MUTANT per mistake; exits 1 if one survives
"""
import argparse
import os

import torch
import transformers
from safetensors.torch import load_file

from check_oracle_against_transformers import part, their_names
from hf_grid import LENGTH, describe, make_case, sample
from hf_measure import log_probs
from hf_storage import dequantise, put_back
from model import Batch, LossWeights, Model
from mutations import MUTANTS

TOLERANCE = dict(log_probs=2e-4, gradient=1e-4)
BEYOND_TRANSFORMERS = ("mtp_", "balance_", "load_", "bias_update_", "documents_", "local_",
                       "masked_target_",  # it has none of these
                       "heads_")          # nor have the models here


def oracle_of(draw, model_class):
    """(log-probabilities, gradients by our names) of the first sequence, by the oracle or a faulty one."""
    c, ids = draw.c, draw.ids[0].tolist()
    state, names = dict(draw.theirs.named_parameters()) | dict(draw.theirs.named_buffers()), their_names(draw.c)
    leaves = {n: part(state, names[n]).detach().double().requires_grad_(not n.endswith("moe.bias"))
              for n in draw.weights}
    span = [(0, LENGTH)]
    result = model_class(c, leaves).forward(Batch(ids, ids[1:] + [-1], span, span), LossWeights(1.0, [], 0.0))
    result.total.backward()
    return result.log_probs[:-1], {n: w.grad for n, w in leaves.items() if w.grad is not None}


def theirs_of(draw, changed=None):
    """The same by transformers, in FP32; changed: stored values in place of some of its weights."""
    kept = {n: t.clone() for n, t in list(draw.theirs.named_parameters()) + list(draw.theirs.named_buffers())}
    put_back(draw.theirs, changed or {})
    draw.theirs.zero_grad()
    values = log_probs(draw.theirs, draw.ids[:1])[0]
    (-values.sum()).backward()
    state, names = dict(draw.theirs.named_parameters()), their_names(draw.c)
    gradients = {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in state.items()}
    found = {n: part(gradients, names[n]) for n in draw.weights if not n.endswith("moe.bias")}
    with torch.no_grad():
        for name, t in list(draw.theirs.named_parameters()) + list(draw.theirs.named_buffers()):
            t.copy_(kept[name])
    return values.detach().double(), found


def moved(a, b):
    """How many tolerances apart two answers are, the larger of log-probabilities and gradients; where."""
    worst = float((a[0] - b[0]).abs().max()) / TOLERANCE["log_probs"], "log-probabilities"
    for name, g in b[1].items():
        if float(g.norm()) > 0 and name in a[1]:
            worst = max(worst, (float((a[1][name].double() - g.double()).norm() / g.norm()) / TOLERANCE["gradient"],
                                name))
    return worst


def storage_faults(draw, directory):
    """FP8 read wrongly: {name: values}."""
    files = [f for f in sorted(os.listdir(directory)) if f.endswith(".safetensors")]
    tensors = {}
    for f in files:
        tensors.update(load_file(f"{directory}/{f}"))
    found = {}
    for fault in ("divided", "transposed"):
        found[fault] = {n: dequantise(t, tensors[n.replace(".weight", ".weight_scale_inv")].float(), fault)
                        for n, t in tensors.items() if t.dtype == torch.float8_e4m3fn}
    return found


def case_tuple(draw):
    c, o = draw.c, draw.options
    config = {k: v for k, v in vars(c).items() if k != "yarn"} | ({"yarn": c.yarn} if c.yarn["factor"] > 1 else {})
    traits = dict(bias=o["bias"], lengths=[LENGTH], masked=False, masked_targets=False, open_end=False)
    options = dict(attention_form="absorbed", recompute="none", split=False)
    return config, options, traits, Batch(draw.ids[0].tolist(), [], [], [])


def traps(directory, choices):
    draws, failed = {}, False

    def draw(i):
        if i not in draws:
            draws[i] = make_case(directory, i, choices[i])
        return draws[i]

    def report(trap, name, fault, best):
        nonlocal failed
        failed |= best[0] < 10
        print(f"MUTANT\t{trap}\t{name}\t{fault}\t" + (f"moves {best[1]} by {best[0]:.0f} tolerances" if best[0] >= 10
                                                      else f"SURVIVED ({best})"),
              flush=True)

    wanted = [m for m in MUTANTS if not m.name.startswith(BEYOND_TRANSFORMERS)]
    for m in wanted:
        best, tried = (0.0, "nothing"), 0
        for i in range(len(choices)):
            if tried == 4 or best[0] >= 10:
                break
            if not m.shows(case_tuple(draw(i))):
                continue
            tried += 1
            theirs = theirs_of(draw(i))
            if tried == 1 and (honest := moved(oracle_of(draw(i), Model), theirs))[0] > 1:
                raise SystemExit(f"the oracle itself differs from transformers on case {i}: {honest}")
            best = max(best, moved(oracle_of(draw(i), m.model), theirs))
        report(m.trap, m.name, m.fault, best)
    fp8 = [i for i in range(len(choices)) if describe(choices[i])[1]["storage"] == "fp8"
           and describe(choices[i])[0]["hidden_size"] == 136][:3]
    for fault, trap in (("divided", "15"), ("transposed", "16")):
        best = (0.0, "nothing")
        for i in fp8:
            values = storage_faults(draw(i), f"{directory}/case_{i:03d}")[fault]
            best = max(best, moved(theirs_of(draw(i), values), theirs_of(draw(i))))
        report(trap, f"fp8_scales_{fault}", f"FP8 scales {fault}", best)
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("--cases", type=int, default=64)
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    os.makedirs(args.directory, exist_ok=True)
    raise SystemExit(1 if traps(args.directory, sample(args.cases)) else 0)


if __name__ == "__main__":
    main()
