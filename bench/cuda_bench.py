#!/usr/bin/env python3
"""Hadal's products and attention on a GPU beside PyTorch's on the same card: TFLOP/s, the share of the card's peak (the
best product of 8192^3 that PyTorch reaches in this run), and the ratio.

Both are timed by events of the device, over random operands of which as many copies take turns as are several times the
L2 cache together.

usage: cuda_bench.py PROGRAMS [SMALL]   the folder of cuda_kernels_bench; without PyTorch our figures stand alone;
                                        SMALL: sizes divided by so much
"""
import json
import re
import statistics
import subprocess
import sys

RUNS, BEYOND_L2 = 7, 160 << 20


def turns_of(count):
    """How many copies of operands of so many numbers of two bytes take turns."""
    return max(2, BEYOND_L2 // (2 * count) + 1)


def torch_seconds(torch, turns, call):
    """Median over runs, by events of the device."""
    call(0)
    times = []
    for _ in range(RUNS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for i in range(2 * turns):
            call(i % turns)
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) / 1000 / (2 * turns))
    return statistics.median(times)


def random(torch, dtype, *shape):
    return torch.rand(*shape, device="cuda").mul_(2).sub_(1).to(dtype)


def torch_product(torch, dtype, m, n, k):
    operands = [(random(torch, dtype, m, k), random(torch, dtype, n, k)) for _ in range(turns_of(m * k + n * k))]
    return torch_seconds(torch, len(operands), lambda i: torch.nn.functional.linear(*operands[i]))


def torch_attention(torch, tokens, heads):
    operands = [[random(torch, torch.bfloat16, 1, heads, tokens, d) for d in (192, 192, 128)]
                for _ in range(turns_of(tokens * heads * 512))]
    attend = torch.nn.functional.scaled_dot_product_attention
    return torch_seconds(torch, len(operands), lambda i: attend(*operands[i], is_causal=True))


def rival(torch, name):
    """Seconds of PyTorch for a line of ours; None: it has nothing to set beside it."""
    if found := re.fullmatch(r"product (\S+) (\d+)x(\d+)x(\d+)", name):
        dtype = {"BF16": torch.bfloat16, "F32": torch.float32}[found[1]]
        return torch_product(torch, dtype, *map(int, found.groups()[1:]))
    if found := re.fullmatch(r"attention (\d+) tokens, (\d+) heads", name):
        return torch_attention(torch, *map(int, found.groups()))
    return None


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    done = subprocess.run([f"{sys.argv[1]}/cuda_kernels_bench", "cuda:0", *sys.argv[2:]], capture_output=True,
                          text=True)
    if done.returncode != 0:
        sys.exit(done.stderr.strip() or f"cuda_kernels_bench ended with {done.returncode}")
    ours = [json.loads(line) for line in done.stdout.splitlines()]
    try:
        import torch
        if not torch.cuda.is_available():
            raise ImportError("PyTorch sees no GPU")
        torch.backends.cuda.matmul.allow_tf32 = False
        peak = 2 * 8192 ** 3 / torch_product(torch, torch.bfloat16, 8192, 8192, 8192)
        print(f"card {torch.cuda.get_device_name()}, PyTorch {torch.__version__}, peak {peak / 1e12:.0f} TFLOP/s in "
              "BF16\n")
    except ImportError as error:
        torch, peak = None, None
        print(f"without a rival: {error}\n")
    print("| what | TFLOP/s | of the peak | PyTorch | ratio |\n|---|---|---|---|---|")
    for line in ours:
        speed = line["flops"] / line["seconds"]
        other = rival(torch, line["name"]) if torch else None
        columns = [line["name"], f"{speed / 1e12:.2f}", f"{speed / peak:.1%}" if peak else "",
                   f"{line['flops'] / other / 1e12:.2f}" if other else "",
                   f"{other / line['seconds']:.2f}" if other else ""]
        print("| " + " | ".join(columns) + " |")


if __name__ == "__main__":
    main()
