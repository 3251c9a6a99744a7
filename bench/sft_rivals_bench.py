#!/usr/bin/env python3
"""Fine-tuning against TRL's SFTTrainer: bench-t1's shape, pairs of a prompt and a completion, packed into sequences of
256 tokens, 8 a step, the same weights and two threads on both sides, in turns. Tokens are those of samples, padding not
counted; the first step of a turn is not timed.

The rival is the fastest of {FP32, BF16 autocast} x {eager, grouped_mm experts} x {2, 8 sequences at a time} by a short
trial; batched_mm experts were 20 times slower where they were tried. Fails when a floor of the table is not held;
without TRL it says so and passes.

usage: sft_rivals_bench.py BUILD_DIR [--rounds N] [--steps N]
"""
import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import sysconfig
import tempfile

from made_up_model import make_model
from worker import Worker

HERE = pathlib.Path(__file__).resolve().parent
LENGTH, SEQUENCES, PAIRS = 256, 8, 3000
LIMIT = 600  # seconds that a turn may take


def floor():
    """Times as fast; less where the CPU stops at AVX2."""
    with open("/proc/cpuinfo", encoding="ascii") as file:
        return 2.0 if "avx512f" in file.read() else 1.3


def library_text():
    return (pathlib.Path(sysconfig.get_path("stdlib")) / "argparse.py").read_text(encoding="utf-8")


def write_pairs(path):
    source = library_text().split()
    draw = random.Random(1)

    def some(low, high):
        n = draw.randint(low, high)
        begin = draw.randrange(len(source) - n)
        return " ".join(source[begin:begin + n])

    with open(path, "w", encoding="utf-8") as file:
        for _ in range(PAIRS):
            file.write(json.dumps({"prompt": some(5, 30) + ":", "completion": " " + some(5, 30)}) + "\n")


CONFIG = """[[data.sources]]
name = "pairs"
paths = ["{pairs}"]
format = "prompt_completion"
[data]
sequence_length = {length}
document_mask = "document"
at_end = "stop"
holdout_fraction = 0.0
[optim]
lr = 3e-4
[train]
precision = "{precision}"
batch_sequences = {sequences}
bias_update_speed = 0.0
balance_alpha = 0.0
[validation]
every_steps = 0
samples = 0
[checkpoint]
every_steps = 0
"""


class Ours:
    def __init__(self, hadal, model, folder, precision):
        self.hadal, self.model, self.folder, self.precision = hadal, model, folder, precision
        self.name, self.rates, self.peak, self.turns = f"hadal {precision}", [], 0, 0
        self.config = folder / f"{precision}.toml"
        self.config.write_text(CONFIG.format(pairs=folder / "pairs.jsonl", length=LENGTH, precision=precision,
                                             sequences=SEQUENCES), encoding="utf-8")

    def turn(self, steps):
        self.turns += 1
        run = self.folder / f"{self.precision}-{self.turns}"
        child = subprocess.Popen([self.hadal, "train", self.config, "--model", self.model, "--run", run, "--steps",
                                  str(steps), "--threads", "2", "--quiet"], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        if status:
            raise SystemExit(f"sft_rivals: {self.name} failed")
        self.peak = max(self.peak, usage.ru_maxrss * 1024)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        lines = [line for line in lines if line["kind"] == "step"][1:]
        self.rates += [(SEQUENCES * LENGTH - line["padding"]) / line["seconds"] for line in lines]


class Rival(Worker):
    def __init__(self, python, model, folder, dtype, experts, micro):
        super().__init__([python, HERE / "rivals/sft_worker.py", model, folder / "pairs.jsonl", "--dtype", dtype,
                          "--experts", experts, "--micro", str(micro), "--length", str(LENGTH), "--sequences",
                          str(SEQUENCES)])
        self.name, self.rates, self.peak = f"TRL {dtype} {experts}, {micro} at a time", [], 0

    def turn(self, steps):
        answer, problem = self.ask(steps, LIMIT)
        if problem:
            return problem
        self.rates += [tokens / seconds for tokens, seconds in zip(answer["tokens"], answer["seconds"])]
        self.peak = answer["peak_bytes"]
        return ""


def best_rival(python, model, folder):
    found = []
    for dtype in ("fp32", "bf16"):
        for experts in ("eager", "grouped_mm"):
            for micro in (2, 8):
                rival = Rival(python, model, folder, dtype, experts, micro)
                rival.start()
                problem = rival.turn(3)
                if problem:
                    print(f"  {rival.name}: left out: {problem}")
                    continue
                print(f"  {rival.name}: {statistics.median(rival.rates):,.0f} tokens/s in a trial", flush=True)
                found.append(rival)
                found.sort(key=lambda one: -statistics.median(one.rates))
                for slower in found[1:]:
                    slower.stop()
                del found[1:]
    return found[0] if found else None


def report(rows, rival):
    missed = 0
    for row in rows:
        print(f"  {row.name:34} {statistics.median(row.rates):>9,.0f} tokens/s   peak {row.peak / 2**20:,.0f} MiB")
    best = max(rows[1:], key=lambda one: statistics.median(one.rates))
    ratio = statistics.median(best.rates) / statistics.median(rival.rates)
    word = "held" if ratio >= floor() else "FAILED"
    missed += ratio < floor()
    print(f"{word} {best.name} is {ratio:.2f} times as fast as {rival.name} (floor {floor():g})")
    word = "held" if best.peak <= rival.peak else "FAILED"
    missed += best.peak > rival.peak
    print(f"{word} its memory, {best.peak / 2**20:,.0f} MiB with the program's own, against "
          f"{rival.peak / 2**20:,.0f} MiB above that of interpreter and packages (no higher)")
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    args = parser.parse_args()
    hadal, python = args.build.resolve() / "hadal", HERE.parent / ".venv/bin/python"
    probe = subprocess.run([python, "-c", "import trl"], capture_output=True, check=False) if python.exists() else None
    if not probe or probe.returncode:
        print("sft_rivals: left out: no .venv with trl (./setup --tests)")
        return 0
    with tempfile.TemporaryDirectory(prefix="hadal_sft_bench_") as name:
        folder = pathlib.Path(name)
        write_pairs(folder / "pairs.jsonl")
        model = make_model(hadal, folder, library_text() * 4)
        rival = best_rival(python, model, folder)
        if not rival:
            print("sft_rivals: no row of TRL ran")
            return 1
        rival.rates = []
        ours = [Ours(hadal, model, folder, precision) for precision in ("fp32", "bf16")]
        for _ in range(args.rounds):
            rival.turn(args.steps)
            for row in ours:
                row.turn(args.steps)
        missed = report([rival, *ours], rival)
        rival.stop()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
