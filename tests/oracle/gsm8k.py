"""`hadal eval --tasks gsm8k` against lm-eval's own task gsm8k through transformers, item by item: the prompt, the text
that was written, what was extracted, exact match strict and flexible, and the means.

usage: gsm8k.py HADAL MODEL FOLDER [--forms text,chat,turns] [--items A:B] [--batch N] [--threads N] [--keep DIR]
                [--spoil]
  MODEL    a Hugging Face directory in FP32, with a chat template; FOLDER holds gsm8k_train.jsonl, gsm8k_test.jsonl
  --forms  of the question: text = five examples in plain text, chat = none, turns = a chat in which examples are turns
Of lm-eval's file two things are others: where the data lie, and the sampler, which draws nothing (first_n).
A text may differ only behind a near tie: where a third run of the same model in FP64 finds two tokens within 1e-4 of
each other in log-probability, and each side wrote one of them. Prints a line a form; any other difference is exit 1.
--items asks lm-eval of a part of them, so that parts may run beside each other or after a stop. --keep keeps our
results, and takes those that are there. --spoil changes the model that lm-eval asks: the comparison must fail.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

from lm_eval_tasks import FOLDER, lm_eval  # the environment that keeps everything local

import torch  # noqa: E402
import yaml  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from lm_eval.models.utils import postprocess_generated_text  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

TIE = 1e-4
FILTERS = ("strict-match", "flexible-extract")
FORMS = {"text": (["--chat", "off"], 5, False), "chat": (["--chat", "on", "--few-shot", "0"], 0, True),
         "turns": (["--chat", "on", "--few-shot", "5"], 5, True)}


def write_task(folder):
    """lm-eval's gsm8k.yaml for local files."""
    path = pathlib.Path(lm_eval.__file__).parent / "tasks/gsm8k/gsm8k.yaml"
    task = yaml.safe_load(path.read_text(encoding="utf-8"))
    for key in ("tag", "dataset_name"):
        task.pop(key)
    files = {split: str(folder.resolve() / f"gsm8k_{split}.jsonl") for split in ("train", "test")}
    task |= {"dataset_path": "json", "dataset_kwargs": {"data_files": files},
             "fewshot_config": {"sampler": "first_n"}}
    pathlib.Path(FOLDER.name, "gsm8k.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    return task["generation_kwargs"]["until"]


def by_item(samples):
    return {(sample["doc_id"], sample["filter"]): sample for sample in samples}


class Judge:
    """The same model in FP64."""

    def __init__(self, client, directory, until):
        self.client, self.directory, self.model = client, directory, None
        self.stops = [*until, client.tok_decode(client.eot_token_id, skip_special_tokens=False)]

    def fits(self, written, text):
        """Whether a reply that begins with these tokens may be this text."""
        so_far = self.client.tok_decode(written, skip_special_tokens=False)
        cut = postprocess_generated_text(so_far, self.stops, None)
        return cut == text if cut != so_far else text.startswith(so_far.rstrip("\ufffd"))

    def tie(self, prompt, ours, theirs):
        """The gap in log-probability where both part, or None: they part elsewhere than the model is undecided."""
        if self.model is None:
            self.model = AutoModelForCausalLM.from_pretrained(self.directory, dtype=torch.float64,
                                                              experts_implementation="eager").eval()
        ids = self.client.tok_batch_encode([prompt])[0][0].tolist()
        ids, written = ids[-(self.client.max_length - self.client.max_gen_toks):], []
        for _ in range(self.client.max_gen_toks):
            with torch.no_grad():
                logits = self.model(torch.tensor([ids + written])).logits[0, -1]
            values, tokens = torch.log_softmax(logits, -1).topk(4)
            near = [token for token, value in zip(tokens.tolist(), values.tolist()) if values[0] - value < TIE]
            both = [token for token in near if all(self.fits([*written, token], text) for text in (ours, theirs))]
            if both:
                written.append(both[0])
                continue
            sides = [[i for i, token in enumerate(near) if self.fits([*written, token], text)]
                     for text in (ours, theirs)]
            return abs(float(values[sides[0][0]] - values[sides[1][0]])) if all(sides) else None
        return None


def compare(label, ours, theirs, judge):
    """The items that are the same, the gaps of near ties, what is wrong."""
    assert ours.keys() == theirs.keys(), f"{label}: other items"
    same, ties, parted, wrong = set(), {}, set(), []
    for (item, kind), a in ours.items():
        b = theirs[item, kind]
        context, = {argument[0] for argument in b["arguments"]}
        mine = a["arguments"]["gen_args_0"]["arg_0"]
        prompt = mine if isinstance(mine, str) else judge.client.apply_chat_template(mine)
        if prompt != context:
            wrong.append(f"{label}, item {item}: the prompt: ours {prompt!r}, lm-eval's {context!r}")
        elif a["resps"][0][0] == b["resps"][0][0]:
            parts = [(a["filtered_resps"][0], b["filtered_resps"][0]), (a["exact_match"], b["exact_match"]),
                     (a["target"], b["target"])]
            wrong += [f"{label}, item {item}, {kind}: ours {x!r}, lm-eval's {y!r}" for x, y in parts if x != y]
            same.add(item)
        elif item not in ties and item not in parted:
            gap = judge.tie(prompt, a["resps"][0][0], b["resps"][0][0])
            if gap is not None:
                ties[item] = gap
            else:
                parted.add(item)
                wrong.append(f"{label}, item {item}: ours {a['resps'][0][0]!r}, lm-eval's {b['resps'][0][0]!r}")
    return same, ties, wrong


def ask_ours(args, options, folder):
    command = [args.hadal, "eval", "--model", args.model, "--tasks", "gsm8k", "--gsm8k",
               args.folder / "gsm8k_test.jsonl", "--gsm8k-examples", args.folder / "gsm8k_train.jsonl", *options,
               "--limit", str(args.items.stop or 0), "--to", folder, "--quiet"]
    if not (folder / "results.json").exists():
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with open(folder / "samples_gsm8k.jsonl", encoding="utf-8") as file:
        samples = [json.loads(line) for line in file]
    items = range(max(sample["doc_id"] for sample in samples) + 1)[args.items]
    return items, [sample for sample in samples if sample["doc_id"] in items]


def run(args, client, judge, label):
    options, examples, chat = FORMS[label]
    folder = pathlib.Path(args.keep or FOLDER.name, label)
    begin = time.perf_counter()
    items, samples = ask_ours(args, options, folder)
    middle = time.perf_counter()
    found = lm_eval.simple_evaluate(model=client, tasks=["gsm8k"], num_fewshot=examples, samples={"gsm8k": list(items)},
                                    apply_chat_template=chat, bootstrap_iters=0,
                                    task_manager=TaskManager(include_path=FOLDER.name, include_defaults=False))
    end = time.perf_counter()
    same, ties, wrong = compare(label, by_item(samples), by_item(found["samples"]["gsm8k"]), judge)
    means = {kind: statistics.mean(sample["exact_match"] for sample in samples if sample["filter"] == kind)
             for kind in FILTERS}
    for kind, mean in means.items():
        theirs = found["results"]["gsm8k"][f"exact_match,{kind}"]
        if not ties and abs(mean - theirs) > 1e-12:
            wrong.append(f"{label}: {kind}: ours {mean!r}, lm-eval's {theirs!r}")
    written = [sample["resps"][0][0] for sample in samples if sample["filter"] == FILTERS[0]]
    print(f"{label}: {len(same)} of {len(written)} items the same, {len(ties)} near ties "
          f"(largest gap {max(ties.values(), default=0):.1e}); "
          f"strict {means[FILTERS[0]]:.4f}, flexible {means[FILTERS[1]]:.4f}; {len(set(written))} different texts of "
          f"{sum(map(len, written)) / len(written):.0f} letters; hadal {middle - begin:.0f} s, "
          f"lm-eval {end - middle:.0f} s", flush=True)
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hadal")
    parser.add_argument("model")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--items", type=lambda given: slice(*(int(end) if end else None for end in given.split(":"))),
                        default=slice(None, None))
    parser.add_argument("--forms", default=",".join(FORMS))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch; 0: its own choice")
    parser.add_argument("--keep")
    parser.add_argument("--spoil", action="store_true")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    until = write_task(args.folder)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    if args.spoil:
        model.model.norm.weight.data[::2] *= 1.1
    client = HFLM(pretrained=model, tokenizer=AutoTokenizer.from_pretrained(args.model), batch_size=args.batch)
    judge = Judge(client, args.model, until)
    wrong = [line for form in args.forms.split(",") for line in run(args, client, judge, form)]
    for line in wrong[:20]:
        print(line)
    if wrong:
        sys.exit(f"{len(wrong)} differences that are no near ties")


if __name__ == "__main__":
    main()
