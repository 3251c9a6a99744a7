"""Problems of our own in the form of GSM8K's files, none of GSM8K's.

usage: gsm8k_problems.py FOLDER [--train N] [--test N]: writes gsm8k_train.jsonl and gsm8k_test.jsonl
"""
import argparse
import json
import pathlib
import random

NAMES = ["Ada", "Boris", "Chen", "Dilip", "Esra", "Femi", "Gülay", "Hana"]
THINGS = ["shells", "stamps", "marbles", "tickets", "cups", "nails"]


def problem(draw):
    name, other = draw.sample(NAMES, 2)
    thing, a, b, c = draw.choice(THINGS), draw.randrange(2, 60), draw.randrange(2, 30), draw.randrange(2, 9)
    kind = draw.randrange(4)
    if kind == 0:
        return (f"{name} has {a} {thing}. {other} gives {name} {b} more. How many {thing} does {name} have now?",
                f"{name} has {a}+{b} = <<{a}+{b}={a + b}>>{a + b} {thing} now.\n#### {a + b}")
    if kind == 1:
        return (f"One of {name}'s {thing} costs ${b}. What do {c} of them cost, with ${a} for the box?",
                f"The {thing} cost {c}*{b} = $<<{c}*{b}={c * b}>>{c * b}.\nWith the box that is {c * b}+{a} = "
                f"$<<{c * b}+{a}={c * b + a}>>{c * b + a}.\n#### {c * b + a}")
    if kind == 2:
        return (f"{name} owes {other} ${a + b} and pays back ${a}. What is {name}'s balance with {other}?",
                f"{a}-{a + b} = <<{a}-{a + b}=-{b}>>-{b}, so {name} still owes ${b}.\n#### -{b}")
    total = 1000 * c + a
    return (f"A shop of {name}'s sells {total:,} {thing} in a year, of which {other} buys {a}. How many are the rest?",
            f"The rest are {total:,}-{a} = <<{total}-{a}={total - a}>>{total - a:,} {thing}.\n#### {total - a:,}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--train", type=int, default=120)
    parser.add_argument("--test", type=int, default=16)
    args = parser.parse_args()
    draw = random.Random(7)
    for split, n in (("train", args.train), ("test", args.test)):
        with open(args.folder / f"gsm8k_{split}.jsonl", "w", encoding="utf-8") as file:
            for _ in range(n):
                question, answer = problem(draw)
                file.write(json.dumps({"question": question, "answer": answer}) + "\n")


if __name__ == "__main__":
    main()
