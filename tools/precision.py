#!/usr/bin/env python3
"""What a precision costs, measured twice (docs/fp8.md): the same run trained in each, from several seeds, by the
held-out bits per byte of its end; and, free of the chaos of two runs, the weights of a BF16 run at every validation
scored in each. Runs one after another; a second call goes on where the first one stopped.

usage: precision.py BINARY OUT [--text FILE] [--seeds 5] [--no-shakespeare] [--second FILE]
  OUT/runs/…        a run each, OUT/results.json every figure, OUT/results.md the tables, OUT/curves.svg the curves
  --text FILE       the book; without it the sources of Python's standard library on this machine
  --second FILE     another text: one run of 300 steps in BF16 and FP8, and the scores of its weights; without it these
                    sources, or, where they are the book, this program's own
Ends with what is promised beside what was found, and with code 1 where a promise is not kept.
"""
import argparse
import json
import math
import pathlib
import statistics
import subprocess
import sys
import sysconfig
import time

HERE = pathlib.Path(__file__).resolve().parent.parent
COLOURS = {"fp32": "#777777", "bf16": "#1f77b4", "fp8": "#d62728", "mxfp8": "#9467bd", "fp16": "#2ca02c"}
LIBRARY_BYTES = 1_200_000
PASSAGE_CHARACTERS = 450
MOST_OF_MEDIAN, MOST_OF_SCORE = 0.25, 0.15  # percent above BF16: medians over seeds; the same weights


def joined(path, sources):
    """Sources as one file, in the order of their names; written once, since runs must go on with the same text."""
    if not path.exists():
        text = ""
        for source in sorted(sources):
            text += source.read_text(errors="replace") + "\n"
            if len(text) > LIBRARY_BYTES:
                break
        path.write_text(text[:LIBRARY_BYTES])
    return path


def library_text(out):
    return joined(out / "library.txt", pathlib.Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))


def own_text(out):
    return joined(out / "own.txt", [p for p in (HERE / "src").rglob("*") if p.suffix in (".h", ".cpp")])


def chosen_texts(text, second, out):
    """The book and the second text: what is given, else the library's sources, and our own where these are the book."""
    return text or library_text(out), second or (library_text(out) if text else own_text(out))


def held_out(text, out, fraction=0.1):
    """The last part of the text, wholly inside of what a run with holdout = "tail" holds out, as a file for score: in
    passages that are no longer than the sequences of training."""
    raw = text.read_bytes()
    tail = raw[int(len(raw) * (1 - fraction * 0.95)):].decode(errors="replace").split("\n", 1)[1]
    passages = [""]
    for line in tail.splitlines(keepends=True):
        if len(passages[-1]) + len(line) > PASSAGE_CHARACTERS:
            passages.append("")
        passages[-1] += line
    path = out / f"{text.stem}-held-out.jsonl"
    path.write_text("".join(json.dumps({"text": p}) + "\n" for p in passages if p))
    return path, len(tail.encode())


def run_command(command, what):
    process = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL)
    if process.returncode:
        sys.exit(f"precision: {what} ended with {process.returncode}: {' '.join(str(c) for c in command)}")


def validations(run):
    """[(step, bits per byte)] of a run's metrics."""
    found = {}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry.get("kind") == "validation":
            found[entry["step"]] = entry["bits_per_byte"]
    return sorted(found.items())


class Study:
    def __init__(self, binary, out):
        self.binary, self.out = binary, out
        self.file = out / "results.json"
        self.results = json.loads(self.file.read_text()) if self.file.exists() else {"runs": {}, "scores": {}}

    def save(self):
        self.file.write_text(json.dumps(self.results, indent=1) + "\n")

    def train(self, name, config, text, precision, seed, settings=()):
        if name in self.results["runs"]:
            return
        print(f"precision: {name}", flush=True)
        directory, start = self.out / "runs" / name, time.monotonic()
        sets = [f"train.precision={precision}", f"train.seed={seed}", "checkpoint.keep=100", *settings]
        run_command([self.binary, "train", HERE / "configs" / config, "--text", text, "--run", directory, "-q",
                     *[part for s in sets for part in ("--set", s)]], f"the run {name}")
        self.results["runs"][name] = {"precision": precision, "seed": seed, "validations": validations(directory),
                                      "seconds": round(time.monotonic() - start, 1)}
        self.save()

    def score(self, name, precisions, held, n_bytes):
        """Bits per byte of the held-out text under the weights of every checkpoint of a run, in each precision."""
        for step in sorted((self.out / "runs" / name / "checkpoints").glob("step_*")):
            for precision in precisions:
                key = f"{name} {int(step.name[5:])} {precision}"
                if key in self.results["scores"]:
                    continue
                answer = self.out / "scores.jsonl"
                run_command([self.binary, "score", "--model", step, "--input", held, "--output", answer, "-q",
                             "--precision", precision], f"scoring {step} in {precision}")
                nll = sum(-p for line in answer.read_text().splitlines() for p in json.loads(line)["logprobs"] if p)
                self.results["scores"][key] = nll / math.log(2) / n_bytes
                self.save()

    def known(self, precision):
        text = subprocess.run([self.binary, "score", "--help"], capture_output=True, text=True, check=True).stdout
        return precision in text.split("--precision", 1)[1].split("}", 1)[0]


def percent(value, base):
    return f"{100 * (value / base - 1):+.3f} %"


def table_of_runs(results, prefix, title):
    """Last validations: a row per seed, a column per precision, then medians and their distance from BF16's."""
    runs = {n: r for n, r in results["runs"].items() if n.startswith(prefix)}
    precisions = [p for p in COLOURS if any(r["precision"] == p for r in runs.values())]
    if not precisions:
        return ""
    last = {(r["precision"], r["seed"]): r["validations"][-1][1] for r in runs.values()}
    lines = [f"### {title}\n", "| seed | " + " | ".join(precisions) + " |", "|---" * (len(precisions) + 1) + "|"]
    for seed in sorted({r["seed"] for r in runs.values()}):
        cells = [f"{last[p, seed]:.4f}" if (p, seed) in last else "" for p in precisions]
        lines.append(f"| {seed} | " + " | ".join(cells) + " |")
    medians = {p: statistics.median(v for (q, _), v in last.items() if q == p) for p in precisions}
    lines.append("| median | " + " | ".join(f"{medians[p]:.4f}" for p in precisions) + " |")
    if "bf16" in medians:
        lines.append("| against bf16 | " + " | ".join(percent(medians[p], medians["bf16"]) for p in precisions) + " |")
    return "\n".join(lines) + "\n"


def table_of_scores(results, name):
    """The same weights: a row per checkpoint, bits per byte in BF16 and how far the others lie from it."""
    scores = {}
    for key, value in results["scores"].items():
        run, step, precision = key.split()
        if run == name:
            scores.setdefault(int(step), {})[precision] = value
    if not scores:
        return ""
    others = [p for p in COLOURS if p != "bf16" and any(p in s for s in scores.values())]
    lines = [f"### The weights of {name}, scored\n", "| step | bf16 | " + " | ".join(others) + " |",
             "|---" * (len(others) + 2) + "|"]
    for step, row in sorted(scores.items()):
        cells = [percent(row[p], row["bf16"]) if p in row and "bf16" in row else "" for p in others]
        lines.append(f"| {step} | {row.get('bf16', 0):.4f} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def verdicts(results):
    """[(sentence, whether the promise is kept)] for all that was measured."""
    found = []
    last = {}
    for name, run in results["runs"].items():
        if name.startswith("seed"):
            last.setdefault(run["precision"], []).append(run["validations"][-1][1])
    if "bf16" in last and "fp8" in last:
        above = 100 * (statistics.median(last["fp8"]) / statistics.median(last["bf16"]) - 1)
        found.append((f"median of {len(last['fp8'])} seeds, fp8 against bf16: {above:+.3f} % "
                      f"(promised: at most +{MOST_OF_MEDIAN} %)", above <= MOST_OF_MEDIAN))
    worst = {}
    for key, value in results["scores"].items():
        run, step, precision = key.split()
        base = results["scores"].get(f"{run} {step} bf16")
        if base and precision not in ("bf16", "fp32"):
            above = 100 * (value / base - 1)
            worst[run, precision] = max(worst.get((run, precision), (-math.inf, "")), (above, step))
    for (run, precision), (above, step) in sorted(worst.items()):
        found.append((f"the weights of {run}, {precision} against bf16: {above:+.3f} % at step {step}, the most of all "
                      f"(promised: at most +{MOST_OF_SCORE} %)", above <= MOST_OF_SCORE))
    return found


def times(results):
    """How long the runs took, in one sentence."""
    seconds = {n: r["seconds"] for n, r in results["runs"].items() if "seconds" in r}
    bf16 = [s for n, s in seconds.items() if n.startswith("seed") and n.endswith("bf16")]
    longest = f"; the longest in BF16 of configs/precision.toml {max(bf16) / 60:.1f} minutes" if bf16 else ""
    return f"{len(seconds)} runs in {sum(seconds.values()) / 60:.0f} minutes{longest}\n" if seconds else ""


def curves(results, prefix="seed"):
    """Validations of all runs as one picture; a colour per precision."""
    runs = [r for n, r in results["runs"].items() if n.startswith(prefix)]
    points = [p for r in runs for p in r["validations"]]
    if not points:
        return ""
    width, height, left, bottom = 720, 360, 50, 30
    most = max(s for s, _ in points)
    low, high = min(v for _, v in points), max(v for s, v in points if s >= most / 8)

    def place(step, value):
        y = (min(value, high) - low) / ((high - low) or 1)
        return f"{left + (width - left - 20) * step / most:.1f},{height - bottom - (height - bottom - 20) * y:.1f}"

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
             f'font-size="12"><rect width="{width}" height="{height}" fill="white"/>']
    for run in runs:
        line = " ".join(place(s, v) for s, v in run["validations"] if v <= high)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[run["precision"]]}" opacity="0.6"/>')
    for i in range(5):
        value = low + (high - low) * i / 4
        y = place(0, value).split(",")[1]
        parts.append(f'<text x="{left - 6}" y="{y}" text-anchor="end">{value:.2f}</text>')
    for i, precision in enumerate(p for p in COLOURS if any(r["precision"] == p for r in runs)):
        parts.append(f'<text x="{width - 90}" y="{30 + 16 * i}" fill="{COLOURS[precision]}">{precision}</text>')
    parts.append(f'<text x="{width / 2}" y="{height - 8}" text-anchor="middle">steps, up to {most}; '
                 f'held-out bits per byte</text></svg>')
    return "\n".join(parts) + "\n"


def write_tables(study):
    results = study.results
    tables = [table_of_runs(results, "seed", "configs/precision.toml, bits per byte of the last validation"),
              table_of_runs(results, "shakespeare", "configs/shakespeare.toml"),
              table_of_runs(results, "second", "Another text, 300 steps"), table_of_scores(results, "seed-1-bf16"),
              table_of_scores(results, "second-1-bf16"),
              "".join(f"- {'kept' if kept else 'NOT KEPT'}: {text}\n" for text, kept in verdicts(results)),
              times(results)]
    (study.out / "results.md").write_text("\n".join(t for t in tables if t))
    (study.out / "curves.svg").write_text(curves(results))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--text", type=pathlib.Path)
    parser.add_argument("--second", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--no-shakespeare", action="store_true", help="leave out configs/shakespeare.toml itself")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    study = Study(options.binary.resolve(), options.out)
    text, second = chosen_texts(options.text, options.second, options.out)
    formats = [p for p in ("mxfp8", "fp16") if study.known(p)]
    held, n_bytes = held_out(text, options.out)

    for seed in range(1, options.seeds + 1):
        for precision in ["bf16", "fp8"] + (["fp32"] if seed <= 3 else []):
            study.train(f"seed-{seed}-{precision}", "precision.toml", text, precision, seed)
        if seed == 1:
            study.score("seed-1-bf16", ["bf16", "fp8", "fp32", *formats], held, n_bytes)
        write_tables(study)
    for precision in formats:
        study.train(f"seed-1-{precision}", "precision.toml", text, precision, 1)
    for precision in ("bf16", "fp8"):
        study.train(f"second-1-{precision}", "precision.toml", second, precision, 1, ["train.steps=300"])
    study.score("second-1-bf16", ["bf16", "fp8"], *held_out(second, options.out))
    write_tables(study)
    if not options.no_shakespeare:
        for precision in ("bf16", "fp8"):
            study.train(f"shakespeare-1-{precision}", "shakespeare.toml", text, precision, 1)
    write_tables(study)
    print((options.out / "results.md").read_text())
    print(f"precision: tables in {options.out / 'results.md'}, curves in {options.out / 'curves.svg'}")
    sys.exit(0 if all(kept for _, kept in verdicts(study.results)) else 1)


if __name__ == "__main__":
    main()
