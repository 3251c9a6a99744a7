#!/usr/bin/env python3
"""`hadal eval` against lm-eval's Hugging Face backend, on the same task files and weights (bench-t1's shape, FP32), two
threads on both sides, in turns: questions with four answers of about five words behind sixty, and texts of 32 tokens
behind sixty words.

The rival is the best of {eager, grouped_mm, batched_mm experts} x batches of {8, 32}, chosen by a short trial, and is
timed without its start; `hadal eval` is timed with it. Medians over all turns. Fails when a floor of the table is not
held; without lm-eval it says so and passes.

usage: eval_rivals_bench.py BUILD_DIR [--rounds N]
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
import time

from made_up_model import make_model
from worker import Worker

HERE = pathlib.Path(__file__).resolve().parent
ITEMS = {"choices": 64, "texts": 32}     # of a turn
FLOORS = {"choices": 4.0, "texts": 6.0}  # times as fast
LIMIT = 600                              # seconds that one turn may take


def words():
    source = (pathlib.Path(sysconfig.get_path("stdlib")) / "argparse.py").read_text(encoding="utf-8")
    return source.split()


def write_tasks(folder):
    known, draw = words(), random.Random(1)

    def some(n):
        begin = draw.randrange(len(known) - n)
        return " ".join(known[begin:begin + n])

    with open(folder / "items.jsonl", "w", encoding="utf-8") as file:
        for i in range(64):
            item = {"question": some(60), "choices": [some(5) for _ in range(4)], "gold": i % 4, "answer": some(2)}
            file.write(json.dumps(item) + "\n")
    common = ["dataset_path: json", f"dataset_kwargs: {{data_files: {{test: {folder / 'items.jsonl'}}}}}",
              "test_split: test", "doc_to_text: '{{question}}'"]
    tasks = {"choices": ["output_type: multiple_choice", "doc_to_choice: choices", "doc_to_target: gold"],
             "texts": ["output_type: generate_until", "doc_to_target: answer",
                       "generation_kwargs: {until: ['@@@@'], max_gen_toks: 32, do_sample: false}"]}
    for name, lines in tasks.items():
        (folder / f"{name}.yaml").write_text("\n".join([f"task: {name}", *common, *lines]) + "\n", encoding="utf-8")


def our_turn(hadal, model, folder, task):
    begin = time.perf_counter()
    subprocess.run([hadal, "eval", "--model", model, "--tasks", folder / f"{task}.yaml", "--limit", str(ITEMS[task]),
                    "--threads", "2", "--quiet"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


class Rival(Worker):
    def __init__(self, python, model, folder, experts):
        super().__init__([python, HERE / "rivals/lm_eval_worker.py", model, folder, "--experts", experts])
        self.name = experts

    def turn(self, task, limit, batch):
        answer, problem = self.ask(f"{task} {limit} {batch}", LIMIT)
        return (answer["seconds"], "") if answer else (None, problem)


def best_of(rivals, task):
    """(rival, batch): by eight items each."""
    found = []
    for rival in rivals:
        for batch in (8, 32):
            seconds, problem = rival.turn(task, 8, batch)
            if problem:
                print(f"  {rival.name}, batches of {batch}: left out: {problem}")
                continue
            found.append((seconds, rival, batch))
    return min(found, key=lambda one: one[0])[1:] if found else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    hadal, python = args.build.resolve() / "hadal", HERE.parent / ".venv/bin/python"
    if not os.access(HERE.parent / ".venv/bin/lm_eval", os.X_OK):
        print("eval_rivals: left out: no .venv with lm-eval (./setup --tests)")
        return 0
    missed = 0
    with tempfile.TemporaryDirectory(prefix="hadal_eval_bench_") as name:
        folder = pathlib.Path(name)
        write_tasks(folder)
        model = make_model(hadal, folder, " ".join(words() * 4))
        rivals = [Rival(python, model, folder, experts) for experts in ("eager", "grouped_mm", "batched_mm")]
        for rival in rivals:
            rival.start()
        for task, items in ITEMS.items():
            best = best_of(rivals, task)
            if best is None:
                print(f"{task}: no rival ran")
                continue
            rival, batch = best
            ours, theirs = [], []
            for _ in range(args.rounds):
                ours.append(our_turn(hadal, model, folder, task))
                seconds, problem = rival.turn(task, items, batch)
                if problem:
                    sys.exit(f"{task}: {rival.name}: {problem}")
                theirs.append(seconds)
            a, b = statistics.median(ours), statistics.median(theirs)
            held = b / a >= FLOORS[task]
            missed += not held
            print(f"{'held' if held else 'FAILED'} eval {task}: {b / a:.1f} times as fast: {items / a:.1f} items/s; "
                  "lm-eval "
                  f"({rival.name}, batches of {batch}) {items / b:.1f} (floor {FLOORS[task]:.0f} times)", flush=True)
        for rival in rivals:
            rival.stop()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
