#!/usr/bin/env python3
"""GSM8K from end to end, from your own two files: a small model is trained on the training file alone
(configs/gsm8k.toml: first its problems as text, then as dialogues), asked the test file with five examples in plain
text and in chats, and exported. Goes on where it was stopped (docs/evaluating.md#gsm8k-from-end-to-end).

usage: gsm8k.py HADAL FOLDER [--out runs/gsm8k-data] [--run runs/gsm8k] [--set KEY=VALUE]... [--limit N]
  FOLDER   holds gsm8k_train.jsonl and gsm8k_test.jsonl: {"question", "answer": "... #### 72"} a line
  OUT/texts.jsonl, dialogues.jsonl      what is trained on
  OUT/five_shot, OUT/chat               results of `hadal eval`
  OUT/model                             the model in FP32 for transformers
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent.parent
PROBLEMS_OF_A_TEXT = 6  # as many as stand in a question with five examples
ROUNDS = 3              # each time other problems stand together
EVALUATIONS = {"five_shot": ["--chat", "off"], "chat": ["--chat", "on", "--few-shot", "0"]}


def question_of(problem):
    """What the evaluation asks, in plain text and as the message of a chat."""
    return f"Question: {problem['question']}\nAnswer:"


def write_lines(path, lines):
    partial = path.with_suffix(".partial")
    partial.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    partial.replace(path)


def write_training_data(train, out):
    """Texts of problems behind each other, each problem once a round; and every problem as a dialogue."""
    problems = [json.loads(line) for line in train.read_text(encoding="utf-8").splitlines() if line.strip()]
    draw, texts = random.Random(1), []
    for _ in range(ROUNDS):
        draw.shuffle(problems)
        for begin in range(0, len(problems), PROBLEMS_OF_A_TEXT):
            group = problems[begin:begin + PROBLEMS_OF_A_TEXT]
            texts.append({"text": "\n\n".join(question_of(one) + " " + one["answer"] for one in group)})
    write_lines(out / "texts.jsonl", texts)
    write_lines(out / "dialogues.jsonl",
                [{"messages": [{"role": "user", "content": question_of(one)},
                               {"role": "assistant", "content": one["answer"]}]} for one in problems])


def run_hadal(hadal, *arguments):
    command = [str(hadal), *map(str, arguments)]
    print("$ " + " ".join(command), flush=True)
    code = subprocess.run(command, stdin=subprocess.DEVNULL).returncode
    if code:
        sys.exit(f"gsm8k: hadal ended with {code}")


def evaluation(args, name):
    """`hadal eval` of the task gsm8k, without the model."""
    command = ["eval", "--tasks", "gsm8k", "--gsm8k", args.folder / "gsm8k_test.jsonl", *EVALUATIONS[name]]
    if name == "five_shot":
        command += ["--gsm8k-examples", args.folder / "gsm8k_train.jsonl"]
    return command + ["--limit", args.limit, "--to", args.out / name]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hadal", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/gsm8k-data"))
    parser.add_argument("--run", type=pathlib.Path, default=pathlib.Path("runs/gsm8k"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the configuration")
    parser.add_argument("--limit", type=int, default=0, help="the first items of the test file; 0: all")
    args = parser.parse_args()
    for name in ("gsm8k_train.jsonl", "gsm8k_test.jsonl"):
        if not (args.folder / name).is_file():
            sys.exit(f"gsm8k: there is no {name} in '{args.folder}'; its lines are {{\"question\", \"answer\"}}")
    args.out.mkdir(parents=True, exist_ok=True)
    if not (args.out / "dialogues.jsonl").exists():
        write_training_data(args.folder / "gsm8k_train.jsonl", args.out)
    settings = [f"data.sources.0.paths=[{json.dumps(str(args.out / 'texts.jsonl'))}]",
                f"phase.chat.data.sources.0.paths=[{json.dumps(str(args.out / 'dialogues.jsonl'))}]", *args.set]
    run_hadal(args.hadal, "train", HERE / "configs/gsm8k.toml", "--run", args.run,
              *(word for one in settings for word in ("--set", one)))
    for name in EVALUATIONS:
        if not (args.out / name / "results.json").exists():
            run_hadal(args.hadal, *evaluation(args, name), "--model", args.run, "--record")
    if not (args.out / "model/config.json").exists():
        run_hadal(args.hadal, "export", "--model", args.run, "--to", "hf", "--dtype", "fp32", "--output",
                  args.out / "model")


if __name__ == "__main__":
    main()
