"""Five optimizer steps on random gradients: DIR/honest and DIR/FAULT for every fault of optimizer.py, each a case.json
(model configuration, optimizer settings, learning rates, norms) and a case.safetensors (w.NAME start, gI.NAME
gradients, and after the steps a.NAME weights, m.NAME, v.NAME, ema.NAME). The honest one must agree with
torch.optim.AdamW or nothing is written.

usage: generate_optimizer.py DIR
"""
import json
import os
import sys

import torch
from safetensors.torch import save_file

from grid import random_weights
from model import Config
from optimizer import FAULTS, AdamW

CONFIG = dict(vocab_size=19, hidden_size=12, n_layers=2, n_dense_layers=1, n_heads=2, q_lora_rank=7, kv_lora_rank=5,
              qk_nope_head_dim=4, qk_rope_head_dim=2, v_head_dim=3, dense_ffn_size=9, expert_ffn_size=5,
              n_routed_experts=4, n_shared_experts=1, n_experts_per_token=2, n_mtp=1)
SETTINGS = dict(beta1=0.9, beta2=0.95, eps=1e-3, weight_decay=0.1, clip=1.0, ema_decay=0.8)
RATES = [1e-2, 3e-2, 2e-2, 0.0, 1e-2]
SCALES = [1.0, 1e-3, 0.02, 1e-3, 30.0]  # steps 2 and 4 stay below the clip


def gradients_of(weights, step):
    generator = torch.Generator().manual_seed(100 + step)
    return {n: (SCALES[step] * torch.randn(w.shape, generator=generator, dtype=w.dtype)).float().double()
            for n, w in weights.items() if not n.endswith("moe.bias")}


def run(optimizer_class, start):
    weights = {n: w.clone() for n, w in start.items()}
    optimizer = optimizer_class(weights, **SETTINGS)
    norms = [optimizer.step(weights, gradients_of(start, i), rate) for i, rate in enumerate(RATES)]
    return weights, optimizer, norms


def check_against_torch(start, weights):
    parameters = {n: torch.nn.Parameter(w.clone()) for n, w in start.items() if not n.endswith("moe.bias")}
    groups = [dict(params=[p], weight_decay=0.0 if n.endswith("norm") else SETTINGS["weight_decay"])
              for n, p in parameters.items()]
    optimizer = torch.optim.AdamW(groups, lr=1.0, betas=(SETTINGS["beta1"], SETTINGS["beta2"]), eps=SETTINGS["eps"])
    for i, rate in enumerate(RATES):
        for n, g in gradients_of(start, i).items():
            parameters[n].grad = g
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters.values()])
        for p in parameters.values():
            p.grad *= min(1.0, SETTINGS["clip"] / float(norm))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    worst = max(float((parameters[n].detach() - weights[n]).abs().max()) for n in parameters)
    print(f"oracle's AdamW against torch.optim.AdamW after {len(RATES)} steps: largest difference {worst:.1e}")
    if worst > 1e-13:
        sys.exit("the oracle's AdamW disagrees with torch.optim.AdamW")


def main():
    torch.set_num_threads(1)
    start = random_weights(Config(CONFIG), "small", seed=3)
    for cls in [AdamW] + FAULTS:
        weights, optimizer, norms = run(cls, start)
        if cls is AdamW:
            check_against_torch(start, weights)
        directory = os.path.join(sys.argv[1], "honest" if cls is AdamW else cls.__name__)
        os.makedirs(directory)
        tensors = {"w." + n: w for n, w in start.items()} | {"a." + n: w for n, w in weights.items()}
        for kind in ("m", "v", "ema"):
            tensors |= {f"{kind}.{n}": t for n, t in getattr(optimizer, kind).items()}
        for i in range(len(RATES)):
            tensors |= {f"g{i}.{n}": g for n, g in gradients_of(start, i).items()}
        save_file({n: t.contiguous() for n, t in tensors.items()}, os.path.join(directory, "case.safetensors"))
        with open(os.path.join(directory, "case.json"), "w", encoding="utf-8") as out:
            json.dump(dict(config=CONFIG, settings=SETTINGS, rates=RATES, norms=norms, fault=cls.__doc__ or ""), out)


if __name__ == "__main__":
    main()
