#!/usr/bin/env python3
"""Whole training steps against Hugging Face transformers' DeepseekV3, on bench-t1 and bench-t2: same weights, same real
text (the Python standard library's sources, tokenised by a tokenizer trained on them), same optimizer, same threads, no
MTP on either side.

Every rival row {eager, grouped_mm, batched_mm experts} x {torch.compile or not} x {FP32, BF16} is tried for a few steps
(one that is HOPELESS times slower than the best for one only). Compiled is what came within WORTH_COMPILING of the best
plain row of its precision; on the machines seen compilation won at most a quarter. The best two and our rows then take
turns, round by round, in processes that stay alive, so that a machine that slows down slows both alike; our rows of
AVX2 take turns by themselves. Fails when a floor of the table is not held.

FP8 is judged beside BF16 of the same turns: speed, peak memory, what the shadow check adds to a step where each layer
is looked at in turn, and the bytes that tokens send to experts. What Hopper's emulated sums cost is said, not judged.

usage: train_step_bench.py BUILD_DIR [--models bench-t1,bench-t2] [--rounds N] [--steps-per-round N] [--rivals TEXT]
       [--isa NAME] [--json FILE]
"""
import argparse
import hashlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time

from worker import Worker

HERE = pathlib.Path(__file__).resolve().parent
TRIAL_STEPS = 3          # the first warms up (and compiles)
HOPELESS = 8
WORTH_COMPILING = 0.4
BATCHES = 12
TEXT_BYTES = 4_000_000
TRIAL_LIMIT = 150        # seconds; a row that needs more is given up and said so
LOSS_STEP = 10
# FP8 beside BF16: tokens a second, where AVX2's floors are higher; MiB of peak memory; share of a run's time that the
# shadow check takes, with fp8.shadow_every as it is by default; bytes sent to experts.
FP8_SPEED = {"bench-t1": 0.75, "bench-t2": 0.82}
FP8_SPEED_AVX2 = {"bench-t1": 0.80, "bench-t2": 0.87}
FP8_SAVES_MIB = {"bench-t2": 120}
SHADOW_EVERY, SHADOW_SHARE = 50, 0.03
DISPATCH_SHARE = 0.52
FP16_SPEED = 0.9
EMULATED = "bench-t1"    # the model whose step is emulated


class Row(Worker):
    """A process that does training steps on demand: write a number of steps, read one line of JSON."""

    def __init__(self, name, command, **facts):
        super().__init__(command)
        self.name, self.facts = name, facts
        self.rates, self.losses, self.answer = [], [], None
        self.look_seconds = 0.0  # of the shadow check of a layer: the mean over all layers

    def steps(self, count, limit, warm=0):
        """Does `count` steps; the first `warm` of them are not timed. Returns an empty text, or why it did not work."""
        answer, problem = self.ask(count, limit)
        if problem:
            return problem
        self.answer = answer
        self.rates += answer["tokens_per_second"][warm:]
        self.losses += answer["loss"]
        return ""

    def look(self, limit):
        """A step for each layer of FP8, with the shadow check of that layer."""
        answer, problem = self.ask(f"{self.answer['layers_of_codes']} looked", limit)
        if not problem:
            self.look_seconds = statistics.mean(answer["look_seconds"])
        return problem

    @property
    def speed(self):
        return statistics.median(self.rates) if self.rates else 0.0

    @property
    def peak_bytes(self):
        return self.answer["peak_above_baseline_bytes"] if self.answer else 0


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--models", default="bench-t1,bench-t2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps-per-round", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path, help="also write every figure here")
    parser.add_argument("--rivals", default="",
                        help="only rival rows whose name contains this; 'none': no rival and no floor that needs one")
    parser.add_argument("--isa", default="", help="only our rows of this instruction set")
    return parser.parse_args()


def standard_library_text():
    """Python sources, sorted by name, up to TEXT_BYTES."""
    parts, total = [], 0
    for path in sorted(pathlib.Path(sysconfig.get_path("stdlib")).glob("*.py")):
        parts.append(path.read_bytes())
        total += len(parts[-1])
        if total >= TEXT_BYTES:
            break
    return b"\n".join(parts)


def ask(command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"train_step_bench: error: {' '.join(map(str, command))}\n{done.stderr.strip()}")
    return json.loads(done.stdout)


def measure_peaks(worker, threads):
    """The best of three looks, so that a neighbour's moment on a core does not lower the denominator."""
    peaks, *others = [ask([worker, "peak", "--threads", threads]) for _ in range(3)]
    for other in others:
        for isa, rates in other["isas"].items():
            for precision in rates:
                peaks["isas"][isa][precision] = max(peaks["isas"][isa][precision], rates[precision])
    return peaks


def our_rows(worker, config, data, peaks, threads, wanted):
    isas = [peaks["best"]] + (["avx2"] if peaks["best"] != "avx2" and "avx2" in peaks["isas"] else [])
    rows = []
    for isa in [wanted] if wanted else isas:
        for precision in ("fp32", "bf16", "fp16", "fp8"):
            command = [worker, "run", config, data, "--isa", isa, "--precision", precision, "--threads", threads]
            pairs = precision in ("bf16", "fp8")
            rows.append(Row(f"hadal {precision} {isa}", [str(word) for word in command], ours=True, precision=precision,
                            isa=isa, peak=peaks["isas"][isa]["bf16" if pairs else "fp32"]))
    return rows


def emulation_factor(fp8):
    """How many times as long a step of FP8 takes with Hopper's sums: one of these, the median of three without."""
    rows = [Row("hopper", fp8.command + ["--set", "fp8.accumulate=hopper"]), Row("fp8", fp8.command)]
    try:
        for row, steps in zip(rows, (1, TRIAL_STEPS + 1)):
            row.start()
            must(row, row.steps(steps, 600, warm=steps > 1))
    finally:
        for row in rows:
            row.stop()
    return rows[1].speed / rows[0].speed


def rival_rows(data, facts, peaks, threads):
    rows = []
    for compiled in (False, True):
        for precision in ("fp32", "bf16"):
            for experts in ("grouped_mm", "batched_mm", "eager"):
                command = [sys.executable, HERE / "rivals/train.py", data / "config.json", data / "weights.safetensors",
                           data / "tokens.safetensors", "--dtype", precision, "--experts", experts, "--threads",
                           threads, "--lr", facts["lr"]] + (["--compile"] if compiled else [])
                rows.append(Row(f"transformers {precision} {experts}" + (" compiled" if compiled else ""),
                                [str(w) for w in command], ours=False, precision=precision, compiled=compiled,
                                experts=experts, peak=peaks["isas"][peaks["best"]][precision]))
    return rows


def trial(row, best_speed):
    """Returns what went wrong, or an empty text. A first step is judged alone only where it did not compile."""
    row.start()
    problem = row.steps(1, TRIAL_LIMIT)
    if problem:
        return problem
    if row.speed * HOPELESS < best_speed and not row.facts["compiled"]:
        row.stop()
        return f"{row.speed:8.0f} tok/s in its first step, {row.peak_bytes / 2**20:.0f} MiB: hopeless"
    row.rates.clear()
    return row.steps(TRIAL_STEPS - 1, TRIAL_LIMIT)


def try_rivals(rows):
    """Says what every row does. Returns the two fastest, alive, and the losses of the fastest FP32 row."""
    kept, plain, reference = [], {}, None
    for row in rows:
        key, compiled = (row.facts["precision"], row.facts["experts"]), row.facts["compiled"]
        best_plain = max((speed for (precision, _), speed in plain.items() if precision == key[0]), default=0)
        if compiled and plain.get(key, best_plain) < WORTH_COMPILING * best_plain:
            print(f"  not compiled: {row.name}", flush=True)
            continue
        begin = time.perf_counter()
        problem = trial(row, max((other.speed for other in kept), default=0))
        print(f"  tried {row.name:40s} {problem or f'{row.speed:8.0f} tok/s'}   ({time.perf_counter() - begin:.0f} s)",
              flush=True)
        if not compiled:
            plain[key] = 0 if problem else row.speed
        if problem:
            continue
        if row.facts["precision"] == "fp32" and (reference is None or row.speed > reference.speed):
            must(row, row.steps(LOSS_STEP - len(row.losses), 600))
            reference = row
        kept = sorted([*kept, row], key=lambda r: -r.speed)
        for other in kept[2:]:
            other.stop()
        kept = kept[:2]
    if not kept or reference is None:
        sys.exit("train_step_bench: error: no rival row works; is the .venv complete? (./setup --tests)")
    return kept, reference


def take_turns(rows, rounds, steps):
    try:
        for row in rows:
            if row.process is None:
                row.start()
                must(row, row.steps(TRIAL_STEPS, 600))
            row.rates.clear()  # only what was measured in turns counts
        for _ in range(rounds):
            for row in rows:
                must(row, row.steps(steps, 600))
        for row in rows:
            must(row, row.steps(max(0, LOSS_STEP - len(row.losses)), 600))
            if row.facts["precision"] == "fp8":
                must(row, row.look(600))
    finally:
        for row in rows:
            row.stop()


def must(row, problem):
    if problem:
        sys.exit(f"train_step_bench: error: {row.name} {problem}")


def print_table(model, facts, rows, best):
    print(f"\n{model}: {facts['parameters']:,} parameters, {facts['flops_per_token'] / 1e6:.1f} MFLOP per token (3 x "
          "forward), "
          f"batch {facts['batch']} x {facts['length']}")
    print(f"{'row':40s} {'tok/s':>8s} {'(min - max)':>17s} {'vs rival':>9s} {'of peak':>8s} {'loss 10':>9s} "
          f"{'peak MiB':>9s}")
    for row in rows:
        spread = f"({min(row.rates):.0f} - {max(row.rates):.0f})"
        ratio = f"{row.speed / best.speed:8.2f}x" if best else "-"
        share = row.speed * facts["flops_per_token"] / (row.facts["peak"] * 1e9)
        print(f"{row.name:40s} {row.speed:8.0f} {spread:>17s} {ratio:>9s} {share:8.1%} "
              f"{row.losses[LOSS_STEP - 1]:9.5f} "
              f"{row.peak_bytes / 2**20:9.0f}", flush=True)


def floors(model, facts, rows, best, reference):
    """(held, sentence) of every floor of this model."""
    ours = [row for row in rows if row.facts["ours"]]
    by_name = {(row.facts["isa"], row.facts["precision"]): row for row in ours}
    fastest = max(ours, key=lambda row: row.speed)
    result = []
    if best:
        ratio = fastest.speed / best.speed
        result.append((ratio >= 1.5, f"{model}: {fastest.name} is {ratio:.2f}x {best.name} (floor 1.5x)"))
        for row in ours:
            if row.facts["precision"] == "fp32":
                gap = abs(row.losses[LOSS_STEP - 1] - reference.losses[LOSS_STEP - 1])
                result.append((gap <= 1e-3,
                               f"{model}: loss at step {LOSS_STEP} of {row.name} is {gap:.1e} from {reference.name} "
                               "(limit 1e-3)"))
        result.append((fastest.peak_bytes <= best.peak_bytes,
                       f"{model}: peak memory of {fastest.name} is {fastest.peak_bytes / 2**20:.0f} MiB, "
                       f"{best.name} {best.peak_bytes / 2**20:.0f} MiB (no higher)"))
    for isa in {isa for isa, _ in by_name}:
        factor = by_name[isa, "bf16"].speed / by_name[isa, "fp32"].speed
        floor = 1.5 if isa == "avx512_bf16" else 0.8
        result.append((factor >= floor, f"{model}: bf16 is {factor:.2f}x fp32 with {isa} (floor {floor}x)"))
        factor = by_name[isa, "fp16"].speed / by_name[isa, "fp32"].speed
        result.append((factor >= FP16_SPEED, f"{model}: fp16 is {factor:.2f}x fp32 with {isa} (floor {FP16_SPEED}x)"))
        result += fp8_floors(model, isa, by_name[isa, "bf16"], by_name[isa, "fp8"], facts["length"] * facts["batch"])
    share = facts["dispatch"]["fp8"] / facts["dispatch"]["bf16"]
    result.append((share <= DISPATCH_SHARE,
                   f"{model}: fp8 sends {share:.3f} of bf16's bytes to experts (limit {DISPATCH_SHARE})"))
    return result


def fp8_floors(model, isa, bf16, fp8, tokens_a_step):
    result = []
    floor = (FP8_SPEED_AVX2 if isa == "avx2" else FP8_SPEED).get(model)
    if floor:
        factor = fp8.speed / bf16.speed
        result.append((factor >= floor, f"{model}: fp8 is {factor:.2f}x bf16 with {isa} (floor {floor}x)"))
    if model in FP8_SAVES_MIB:
        saved = (bf16.peak_bytes - fp8.peak_bytes) / 2**20
        result.append((saved >= FP8_SAVES_MIB[model],
                       f"{model}: peak memory of fp8 with {isa} is {saved:.0f} MiB below bf16's "
                       f"(floor {FP8_SAVES_MIB[model]} MiB)"))
    share = fp8.look_seconds / (SHADOW_EVERY * tokens_a_step / fp8.speed)
    result.append((share <= SHADOW_SHARE, f"{model}: the shadow check takes {share:.2%} of fp8's time with {isa} "
                                          f"(limit {SHADOW_SHARE:.0%})"))
    return result


def bench_model(model, args, worker, peaks, text, scratch):
    config, data = HERE.parent / "configs" / f"{model}.toml", scratch / model
    facts = ask([worker, "prepare", config, text, data, BATCHES])
    facts["dispatch"] = ask([worker, "dispatch", config])
    print(f"\n{model}: trying the rivals", flush=True)
    rivals, reference = [], None
    if args.rivals != "none":
        rows = [row for row in rival_rows(data, facts, peaks, peaks["threads"]) if args.rivals in row.name]
        rivals, reference = try_rivals(rows)
    ours = our_rows(worker, config, data, peaks, peaks["threads"], args.isa)
    first = [row for row in ours if row.facts["isa"] == ours[0].facts["isa"]] + rivals
    take_turns(first, args.rounds, args.steps_per_round)
    take_turns([row for row in ours if row not in first], args.rounds, args.steps_per_round)
    rows = ours + rivals + ([reference] if reference and reference not in rivals else [])
    best = max(rivals, key=lambda row: row.speed) if rivals else None
    print_table(model, facts, rows, best)
    if model == EMULATED:
        fp8 = next(row for row in ours if row.facts["precision"] == "fp8")
        print(f"with Hopper's sums a step of {fp8.name} takes {emulation_factor(fp8):.0f} times as long")
    record = dict(model=model, facts=facts, rows=[dict(name=r.name, median=r.speed, rates=r.rates, losses=r.losses,
                                                       **r.answer | {"loss": None})
                                                  for r in rows])
    return floors(model, facts, rows, best, reference), record


def main():
    args = parse()
    begin = time.perf_counter()
    worker = args.build / "bench" / "train_step_worker"
    threads = len(os.sched_getaffinity(0))
    peaks = measure_peaks(worker, threads)
    print(peaks["cpu"], "; multiply-adds from registers, GFLOP/s:",
          {k: {p: round(g) for p, g in v.items()} for k, v in peaks["isas"].items()})
    results, records = [], []
    with tempfile.TemporaryDirectory() as name:
        scratch = pathlib.Path(name)
        text = scratch / "text"
        text.write_bytes(standard_library_text())
        print(f"text: {text.stat().st_size:,} bytes of the Python standard library, SHA-256 "
              f"{hashlib.sha256(text.read_bytes()).hexdigest()[:16]}…; "
              f"{threads} threads on both sides")
        for model in args.models.split(","):
            held, record = bench_model(model, args, worker, peaks, text, scratch)
            results += held
            records.append(record)
    print()
    for held, sentence in results:
        print("held   " if held else "FAILED ", sentence)
    if args.json:
        args.json.write_text(json.dumps(dict(peaks=peaks, models=records, floors=results), indent=1))
    print(f"took {time.perf_counter() - begin:.0f} s")
    return 0 if all(held for held, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main())
