"""A rival of fine-tuning: TRL's SFTTrainer on the CPU, on pairs of a prompt and a completion, packed into whole
sequences.

Reads numbers of steps from standard input, does them in one training and answers each with one line of JSON: row,
seconds of every step but the first, tokens (padding not counted) of the same, the peak of resident bytes above what
interpreter and packages take.

usage: sft_worker.py DIR PAIRS_JSONL [--dtype fp32|bf16] [--experts eager|grouped_mm|batched_mm] [--length N]
                     [--sequences N] [--micro N] [--threads N]
"""
import argparse
import json
import logging
import os
import sys
import tempfile
import time

for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
    os.environ[name] = "1"

import datasets  # noqa: E402: after what it reads
import torch  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback  # noqa: E402
from trl import SFTConfig, SFTTrainer  # noqa: E402


def status_bytes(field):
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field + ":"))


class Clock(TrainerCallback):
    def __init__(self):
        self.ends = []

    def on_step_begin(self, args, state, control, **more):
        self.begin = time.perf_counter()

    def on_step_end(self, args, state, control, **more):
        self.ends.append(time.perf_counter() - self.begin)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("pairs")
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--experts", choices=["eager", "grouped_mm", "batched_mm"], default="eager")
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--sequences", type=int, default=8)
    parser.add_argument("--micro", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def train(args, model, tokenizer, pairs, steps):
    counted = []
    with tempfile.TemporaryDirectory() as out:
        config = SFTConfig(output_dir=out, max_length=args.length, packing=True, use_cpu=True, report_to=[],
                           bf16=args.dtype == "bf16", max_steps=steps, save_strategy="no", logging_strategy="no",
                           per_device_train_batch_size=args.micro, disable_tqdm=True, learning_rate=3e-4,
                           gradient_accumulation_steps=args.sequences // args.micro, gradient_checkpointing=False)
        clock = Clock()
        trainer = SFTTrainer(model=model, args=config, train_dataset=pairs, processing_class=tokenizer,
                             callbacks=[clock])
        collate = trainer.data_collator

        def counting(rows):
            batch = collate(rows)
            counted.append(int(batch["attention_mask"].sum()) if "attention_mask" in batch
                           else int((batch["input_ids"] != tokenizer.pad_token_id).sum()))
            return batch

        trainer.data_collator = counting
        trainer.train()
    each = args.sequences // args.micro
    tokens = [sum(counted[i * each:(i + 1) * each]) for i in range(steps)]
    return clock.ends[1:], tokens[1:]


def main():
    args = parse()
    torch.set_num_threads(args.threads)
    logging.disable(logging.WARNING)
    datasets.disable_progress_bars()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what TRL prints is no answer
    baseline = status_bytes("VmRSS")
    model = AutoModelForCausalLM.from_pretrained(args.directory, dtype=torch.float32,
                                                 experts_implementation=args.experts)
    model.config.use_cache = False
    tokenizer = AutoTokenizer.from_pretrained(args.directory)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    with open(args.pairs, encoding="utf-8") as file:
        pairs = datasets.Dataset.from_list([json.loads(line) for line in file])
    for line in sys.stdin:
        seconds, tokens = train(args, model, tokenizer, pairs, int(line))
        print(json.dumps({"row": f"TRL {args.dtype} {args.experts} {args.micro} at a time", "seconds": seconds,
                          "tokens": tokens, "peak_bytes": status_bytes("VmHWM") - baseline}), file=answers, flush=True)


if __name__ == "__main__":
    main()
