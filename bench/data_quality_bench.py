#!/usr/bin/env python3
"""Rules, near duplicates and decontamination beside datatrove's filters and MinHash signatures, in MB/s of raw text.

Documents of about 3,000 characters: most made of words that follow one another in docstrings, so that they stay, a
fifth docstrings themselves, which rules refuse; a tenth once more with some words replaced. Ours reads, parses, hashes,
judges, holds documents against 500 evaluation items, compares near duplicates and decides; datatrove (one process) runs
its Gopher, C4 and FineWeb filters over texts in memory and makes the signatures of what they leave, no more. Its words
are split by one regular expression, which is faster than the spaCy that it asks itself, and those of signatures at
blanks. The two take turns; a row's time is its best round. Floors are held by CPU seconds (of two threads: half of
theirs), since cores of shared machines are at times somebody else's; the time on the clock stands beside them. Fails
when a floor is not held.

usage: data_quality_bench.py BUILD_DIR [--rounds N] [--megabytes N]
"""
import argparse
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

import numpy
import regex

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/oracle"))
sys.dont_write_bytecode = True
import near_duplicates
import quality_rules
import tokenizer_texts

FLOOR_MB, FLOOR_RATIO = 30, 10
RIVAL_BYTES = 1_500_000
WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+(?:['\u2019][\p{L}\p{M}\p{N}]+)*|\S")
SENTENCE = regex.compile(r"[^.?!]*[.?!]+(?=\s|$)|\S[^.?!]*$")


def documents(size):
    """Four of five are made, sentences of words that follow one another in docstrings; the others are those."""
    draw, paragraphs, follow = random.Random(1), [], {}
    for text in tokenizer_texts.english(6_000_000):
        paragraphs.append(" ".join(text.split()) + "\n")
        words = re.findall(r"(?<!\S)[A-Za-z][a-z]*,?(?!\S)", text)
        for one, next_one in zip(words, words[1:]):
            follow.setdefault(one, []).append(next_one)
    texts = list(tokenizer_texts.chunks(paragraphs, 3000))[:size // 15000]
    starts, length = sorted(follow), sum(map(len, texts))
    while length < size * 0.9:
        texts.append(made(draw, starts, follow))
        length += len(texts[-1])
    for text in draw.sample(texts, len(texts) // 10):
        words = text.split(" ")
        for _ in range(draw.randrange(1, 8)):
            words[draw.randrange(len(words))] = "word%d" % draw.randrange(10**6)
        texts.append(" ".join(words))
    draw.shuffle(texts)
    return texts


def made(draw, starts, follow):
    lines = []
    for _ in range(draw.randrange(3, 12)):
        words = [draw.choice(starts)]
        for _ in range(draw.randrange(30, 120)):
            words.append(draw.choice(follow.get(words[-1], starts)))
        sentences = [" ".join(words[i:i + 14]) for i in range(0, len(words), 14)]
        lines.append(". ".join(sentences) + ".")
    return "\n".join(lines)


def rival(texts):
    """A function that runs datatrove over the texts and tells how many it keeps."""
    share, = (ROOT / ".venv/share").glob("datatrove-*")
    quality_rules.MARKS = quality_rules.terminal_marks(share)
    quality_rules.split_into_words = lambda text, language=None: WORD.findall(text)
    quality_rules.split_into_sentences = lambda text, language=None: SENTENCE.findall(text)
    source = (share / "text.py").read_text(encoding="utf-8")
    names = {}
    exec(source[source.index("PUNCTUATION ="):source.index("TERMINAL_PUNCTUATION =")], names)
    quality_rules.Symbols = lambda: set(names["PUNCTUATION"]) | quality_rules.MARKS
    document, sets = quality_rules.filters(share)
    signatures = near_duplicates.signatures(share, near_duplicates.text_functions(share))

    def run():
        kept = 0
        for text in texts:
            doc = document(text)
            if all(one.filter(doc) is True for one in sets.values()):
                kept += 1
                signatures.get_signature(signatures.get_shingles(doc.text))
        return kept
    return run


def keep(best, name, size, *seconds):
    before = best.get(name, (0, 0))
    best[name] = tuple(max(old, size / one / 1e6) for old, one in zip(before, seconds))


def main():
    parser = argparse.ArgumentParser(description="Data quality beside datatrove.")
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=30)
    options = parser.parse_args()
    numpy.seterr(over="ignore")
    texts = documents(options.megabytes * 10**6)
    sample, size = [], 0
    for text in texts:
        if size < RIVAL_BYTES:
            sample.append(text)
            size += len(text.encode())
    theirs = rival(sample)
    best = {}
    with tempfile.TemporaryDirectory() as directory:
        folder = pathlib.Path(directory)
        (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        questions = ("Item %d asks: " % i + " ".join("q%d" % (i * 40 + k) for k in range(40)) for i in range(500))
        (folder / "items.jsonl").write_text("".join(json.dumps({"question": one}) + "\n" for one in questions))
        worker = subprocess.Popen([str(pathlib.Path(options.build) / "bench/data_quality_worker"),
                                   str(folder / "texts.jsonl"), str(folder / "items.jsonl")],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(options.rounds):
            for threads in (1, 2):
                worker.stdin.write("%d\n" % threads)
                worker.stdin.flush()
                answer = json.loads(worker.stdout.readline())
                keep(best, threads, answer["bytes"], answer["cpu_seconds"] / threads, answer["seconds"])
            start, cpu = time.perf_counter(), time.process_time()
            kept = theirs()
            keep(best, "datatrove", size, time.process_time() - cpu, time.perf_counter() - start)
        worker.stdin.close()
        worker.wait()
    ratio = best[1][0] / best["datatrove"][0]
    print("%d documents, %.1f MB: %d removed, %d of them near duplicates; datatrove keeps %d of %d" % (
        answer["documents"], answer["bytes"] / 1e6, answer["removed"], answer["alike"], kept, len(sample)))
    for name, row in (("hadal, 1 thread", 1), ("hadal, 2 threads", 2), ("datatrove, 1 core", "datatrove")):
        print("%-18s %6.2f MB/s, by the clock %6.2f" % (name, *best[row]))
    verdicts = [("rules, near duplicates, decontamination on two cores: %.1f MB/s (floor %d)" % (best[2][0], FLOOR_MB),
                 best[2][0] >= FLOOR_MB),
                ("per core beside datatrove: %.1f x (floor %d)" % (ratio, FLOOR_RATIO), ratio >= FLOOR_RATIO)]
    for text, held in verdicts:
        print(("held " if held else "FAILED ") + text)
    sys.exit(0 if all(held for _, held in verdicts) else 1)


main()
