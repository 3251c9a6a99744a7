#!/usr/bin/env python3
"""Serving against rivals on the same random weights, two threads on both sides, in turns: decoding one text behind a
prompt of 16 tokens, and reading a prompt of 512.

- llama.cpp (llama-cpp-python, compiled for this CPU by ./setup --llama) on our GGUF export of a model of 3 billion
  weights (bench/random_model.h), at equal bits a weight: BF16, int8 against Q8_0, int4 against Q4_0; repacked by it or
  as the file has them, whichever decodes faster.
- Hugging Face transformers' generate() on a random model of bench-t2's shape, the best of {FP32, BF16} x {eager,
  grouped_mm, batched_mm experts}.

The best of a rival's rows is chosen by a short trial. Medians over all turns. Fails when a floor of the table is not
held; a rival that is not installed is left out and said so. Needs 14 GB of disk below TMPDIR and 14 GB of memory.

usage: serving_rivals_bench.py BUILD_DIR [--only TEXT] [--rounds N] [--model DIR]
"""
import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from worker import Worker

HERE = pathlib.Path(__file__).resolve().parent
DECODED, PROMPT = 32, 512  # tokens of a turn
FORMATS = [("bf16", "values", "bf16", 1.0), ("int8", "int8", "q8_0", 1.2), ("int4", "int4", "q4_0", 1.2)]
PREFILL_FLOOR, GENERATE_FLOOR = 1.3, 8.0
LIMIT = 900  # seconds that one turn may take


class Server(Worker):
    """A program that decodes and prefills, and what it took."""

    def __init__(self, name, command):
        super().__init__(command)
        self.name, self.decoding, self.prefills = name, [], []

    def turn(self, decoded, prompt):
        """Returns an empty text, or why it did not work."""
        for what, count, seconds in (("decode", decoded, self.decoding), ("prefill", prompt, self.prefills)):
            answer, problem = self.ask(f"{what} {count}", LIMIT)
            if problem:
                return problem
            seconds += answer["seconds"]
        return ""

    @property
    def decode_rate(self):
        return 1 / statistics.median(self.decoding)

    @property
    def prefill_rate(self):
        return PROMPT / statistics.median(self.prefills)


def must(server, problem):
    if problem:
        sys.exit(f"serving_rivals_bench: error: {server.name} {problem}")


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"serving_rivals_bench: error: {' '.join(map(str, command))}\n{done.stderr.strip()}")


def take_turns(servers, rounds):
    """The first turn warms up."""
    try:
        for server in servers:
            if server.process is None:
                server.start()
            must(server, server.turn(4, PROMPT))
            server.decoding.clear(), server.prefills.clear()
        for _ in range(rounds):
            for server in servers:
                must(server, server.turn(DECODED, PROMPT))
    finally:
        for server in servers:
            server.stop()


def best_of(rows):
    """The row that decodes fastest in a short trial, alive; says what every row does."""
    best = None
    for row in rows:
        row.start()
        problem = row.turn(2, 16) or row.turn(16, 16)
        print(f"  tried {row.name:34s} {problem or f'{row.decode_rate:.1f} tok/s'}", flush=True)
        if problem or (best and row.decode_rate < best.decode_rate):
            row.stop()
            continue
        if best:
            best.stop()
        best = row
    if best is None:
        sys.exit("serving_rivals_bench: error: no row of this rival works; is .venv complete? (./setup --llama)")
    return best


def print_row(model, servers):
    for server in servers:
        decoding, prefills = sorted(server.decoding), sorted(server.prefills)
        print(f"{model:9s} {server.name:34s} decode {server.decode_rate:7.1f} tok/s "
              f"({1 / decoding[-1]:.1f} - {1 / decoding[0]:.1f})   prefill {server.prefill_rate:8.1f} tok/s "
              f"({PROMPT / prefills[-1]:.1f} - {PROMPT / prefills[0]:.1f})", flush=True)


def judged(name, what, ratio, floor):
    return ratio >= floor, f"{name}: {what} is {ratio:.2f}x (floor {floor}x)"


class Bench:
    def __init__(self, args, scratch):
        self.build, self.rounds, self.scratch = args.build, args.rounds, scratch
        self.threads = len(os.sched_getaffinity(0))
        self.worker = args.build / "bench" / "engine_worker"

    def ours(self, directory, *options):
        name = "hadal " + " ".join(word for word in options if not word.startswith("--"))
        return Server(name, [self.worker, "run", directory, "--threads", self.threads, *options])

    def rival(self, script, *words):
        return [sys.executable, HERE / "rivals" / script, *words, "--threads", self.threads]

    def llama(self, directory, only):
        """Floors of every format against llama.cpp."""
        results = []
        for name, weights, gguf, floor in FORMATS:
            if only not in f"llama {name}":
                continue
            exported = self.scratch / gguf
            run(self.build / "hadal", "export", "--model", directory, "--to", "gguf", "--dtype", gguf, "--output",
                exported, "--shard-size", 0)
            ours = self.ours(directory, "--weights", weights)
            file = exported / f"model-{gguf}.gguf"
            theirs = best_of([Server(f"llama.cpp {gguf} repacked", self.rival("llama.py", file)),
                              Server(f"llama.cpp {gguf} mapped", self.rival("llama.py", file, "--mapped"))])
            take_turns([ours, theirs], self.rounds)
            shutil.rmtree(exported)
            print_row("3B", [ours, theirs])
            results.append(judged(f"3B {name}", "decoding against llama.cpp", ours.decode_rate / theirs.decode_rate,
                                  floor))
            results.append(judged(f"3B {name}", "prefill against llama.cpp", ours.prefill_rate / theirs.prefill_rate,
                                  PREFILL_FLOOR))
        return results

    def generate(self):
        """The floor against transformers' generate()."""
        directory = self.scratch / "bench-t2"
        run(self.worker, "write", directory, HERE.parent / "configs/bench-t2.toml")
        best = best_of([Server(f"transformers {dtype} {experts}",
                               self.rival("generate.py", directory, "--dtype", dtype, "--experts", experts))
                        for dtype in ("fp32", "bf16") for experts in ("eager", "grouped_mm", "batched_mm")])
        ours = self.ours(directory, "--precision", "bf16")
        take_turns([ours, best], self.rounds)
        print_row("bench-t2", [ours, best])
        print(f"bench-t2: prefill against {best.name} is {ours.prefill_rate / best.prefill_rate:.2f}x")
        return [judged("bench-t2", f"decoding against {best.name}", ours.decode_rate / best.decode_rate,
                       GENERATE_FLOOR)]


def llama_version():
    """What is installed, or None."""
    done = subprocess.run([sys.executable, HERE / "rivals/llama.py", "--version"], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--only", default="", help="'llama bf16', 'llama int8', 'llama int4', 'generate', or a part")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", type=pathlib.Path, help="what `engine_worker write` made, not to write it anew")
    args = parser.parse_args()
    begin, results = time.perf_counter(), []
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(args, pathlib.Path(name))
        if any(args.only in f"llama {row[0]}" for row in FORMATS):
            version = llama_version()
            print(version or "llama.cpp is LEFT OUT: llama-cpp-python is not installed; ./setup --llama compiles it")
            if version:
                model = args.model or bench.scratch / "model"
                if not args.model:
                    run(bench.worker, "write", model)
                results += bench.llama(model, args.only)
        if args.only in "generate":
            results += bench.generate()
    print()
    for held, sentence in results:
        print("held   " if held else "FAILED ", sentence)
    print(f"took {time.perf_counter() - begin:.0f} s")
    return 0 if all(held for held, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main())
