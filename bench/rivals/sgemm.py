"""PyTorch's best sgemm on this machine: one side of the denominator of every share of peak (the other is our own FMA
loop).

usage: sgemm.py [--threads N] [--seconds S]        prints one JSON line with the best GFLOP/s and the size that gave it
"""
import argparse
import json
import time

import torch

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--seconds", type=float, default=1.0, help="per size")
args = parser.parse_args()
torch.set_num_threads(args.threads)

best, best_size, table = 0.0, 0, {}
for size in (512, 768, 1024, 1536, 2048):
    a, b, c = (torch.randn(size, size) for _ in range(3))
    torch.mm(a, b, out=c)
    fastest, end = float("inf"), time.perf_counter() + args.seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        torch.mm(a, b, out=c)
        fastest = min(fastest, time.perf_counter() - begin)
    table[size] = round(2 * size ** 3 / fastest / 1e9, 1)
    if table[size] > best:
        best, best_size = table[size], size
print(json.dumps(dict(row="torch sgemm", gflops=best, size=best_size, sizes=table, threads=args.threads,
                      torch=torch.__version__)), flush=True)
