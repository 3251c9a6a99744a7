"""Writes cases for the C++ tests: DIR/case_NNN.json (configuration, options, batch, expected losses) and
DIR/case_NNN.safetensors (w.NAME weights, g.NAME gradients, bias.NAME the selection bias after its update, log_probs).

usage: generate.py DIR [--cases N] [--only I,J,...] [--mutants | --choose-draws]
With --mutants: DIR/MUTANT/case_NNN.* for every mutant of mutations.py, on the cases where its fault can show.
"""
import argparse
import json
import os

import torch
from safetensors.torch import save_file

from grid import build, grid
from model import Config, LossWeights, Model

GAMMA = 0.25
DRAWS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "draws.json")


def run(model_class, case):
    config, _, _, batch, loss_weights, weights = case
    leaves = {n: w.clone().requires_grad_(not n.endswith("moe.bias")) for n, w in weights.items()}
    model = model_class(Config(config), leaves)
    result = model.forward(batch, LossWeights(**loss_weights))
    trained = [n for n, w in leaves.items() if w.requires_grad]
    if result.total.requires_grad:
        found = torch.autograd.grad(result.total, [leaves[n] for n in trained], allow_unused=True)
    else:
        found = [None] * len(trained)
    gradients = {n: torch.zeros_like(leaves[n]) if g is None else g for n, g in zip(trained, found)}
    moe = [layer for layer in range(model.c.n_layers + model.c.n_mtp) if model.c.is_moe(layer)]
    biases = {}
    for layer, load in zip(moe, result.expert_load):
        name = f"layers.{layer}.moe.bias"
        if name in weights:
            biases[name] = model.updated_bias(weights[name], load, GAMMA)
    return result, gradients, biases


class InSinglePrecision(Model):
    """The same model in torch's float, with the experts that double precision chose."""

    def __init__(self, config, weights, routes):
        super().__init__(config, {n: w.detach().float().requires_grad_(w.requires_grad) for n, w in weights.items()})
        self.routes = iter([r for r in routes if r])

    def select(self, scores, bias):
        return torch.tensor(next(self.routes))


def single_precision_error(case, result, gradients):
    """The worst error of torch's own FP32 gradients, in units of the FP32 bound 2e-5 ||g|| + 1e-8 sqrt(n): twice, from
    weights that were moved by as much as rounding would."""
    config, _, _, batch, loss_weights, weights = case
    generator, worst = torch.Generator().manual_seed(1), 0.0
    for _ in range(2):
        moved = {n: w if n.endswith("moe.bias") else w * (1 + 6e-8 * torch.randn(w.shape, generator=generator,
                                                                                 dtype=w.dtype))
                 for n, w in weights.items()}
        model = InSinglePrecision(Config(config),
                                  {n: w.clone().requires_grad_(n in gradients) for n, w in moved.items()},
                                  result.routes)
        total = model.forward(batch, LossWeights(**loss_weights)).total
        found = torch.autograd.grad(total, [model.w[n] for n in gradients], allow_unused=True)
        for (n, g), other in zip(gradients.items(), found):
            error = g if other is None else g - other
            worst = max(worst, float(error.norm()) / (2e-5 * float(g.norm()) + 1e-8 * error.numel() ** 0.5))
    return worst


def best_draw(choice, index):
    """Which of 24 draws of the weights makes the best-conditioned problem. An ill-conditioned one (a normed vector near
    0, an attention that looks at one key alone) is a problem whose gradient even torch's own FP32 misses by far: there
    the comparison would measure the draw. Stops at a draw that torch holds to a twentieth of our bound."""
    best, best_error = 0, float("inf")
    for attempt in range(24):
        case = build(choice, index, attempt)
        result, gradients, _ = run(Model, case)
        error = single_precision_error(case, result, gradients) if result.total.requires_grad else 0.0
        if error < best_error:
            best, best_error = attempt, error
        if error < 0.05:
            break
    return best


def chosen_draws(n_cases):
    """The committed choices of best_draw for the grid of this many cases; the first draw where there is none."""
    with open(DRAWS, encoding="utf-8") as file:
        draws = json.load(file).get(str(n_cases), [])
    return draws or [0] * len(grid(n_cases))


def choose_draws(n_cases, cases):
    with open(DRAWS, "w", encoding="utf-8") as out:
        json.dump({str(n_cases): [best_draw(choice, i) for i, choice in enumerate(cases)]}, out)


def describe(config, options, traits):
    return ", ".join(f"{k}={v}" for k, v in {**config, **options, **traits}.items())


def write_case(directory, index, case, outcome):
    config, options, traits, batch, loss_weights, weights = case
    result, gradients, biases = outcome
    tensors = {"w." + n: w for n, w in weights.items()}
    tensors |= {"g." + n: g for n, g in gradients.items()}
    tensors |= {"bias." + n: b for n, b in biases.items()}
    tensors["log_probs"] = result.log_probs
    name = f"case_{index:03d}"
    save_file({n: t.contiguous() for n, t in tensors.items()}, os.path.join(directory, name + ".safetensors"))
    document = dict(
        name=name, summary=describe(config, options, traits), config=config, options=options, gamma=GAMMA,
        batch=dict(tokens=batch.tokens, targets=batch.targets, segments=batch.segments, sequences=batch.sequences,
                   positions=[batch.position(i) for i in range(len(batch.tokens))]),
        weights=loss_weights,
        expect=dict(main=float(result.main.detach()), main_count=result.main_count,
                    mtp=[float(x.detach()) for x in result.mtp], mtp_count=result.mtp_count,
                    balance=float(result.balance.detach()), total=float(result.total.detach()),
                    expert_load=result.expert_load, routes=[[e for row in r for e in row] for r in result.routes]))
    with open(os.path.join(directory, name + ".json"), "w", encoding="utf-8") as out:
        json.dump(document, out)


def write_mutants(directory, cases, draws):
    from mutations import MUTANTS
    honest = {}
    for mutant in MUTANTS:
        applicable = [i for i, choice in enumerate(cases) if mutant.shows(build(choice, i))][:mutant.n_cases]
        if not applicable:
            raise SystemExit(f"no case of the grid can show the fault '{mutant.name}'")
        path = os.path.join(directory, mutant.name)
        os.makedirs(path)
        with open(os.path.join(path, "mutant.json"), "w", encoding="utf-8") as out:
            json.dump(dict(name=mutant.name, trap=mutant.trap, fault=mutant.fault), out)
        for i in applicable:
            honest[i] = honest.get(i) or build(cases[i], i, draws[i])
            write_case(path, i, honest[i], run(mutant.model, honest[i]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("--cases", type=int, default=208)
    parser.add_argument("--only", help="comma-separated case numbers")
    parser.add_argument("--mutants", action="store_true")
    parser.add_argument("--choose-draws", action="store_true",
                        help="write draws.json (after a change of the grid), nothing else")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cases = grid(args.cases)
    if args.choose_draws:
        return choose_draws(args.cases, cases)
    os.makedirs(args.directory, exist_ok=True)
    draws = chosen_draws(args.cases)
    if args.mutants:
        return write_mutants(args.directory, cases, draws)
    chosen = [int(i) for i in args.only.split(",")] if args.only else range(len(cases))
    for i in chosen:
        case = build(cases[i], i, draws[i])
        write_case(args.directory, i, case, run(Model, case))


if __name__ == "__main__":
    main()
