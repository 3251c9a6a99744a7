"""A rival of serving: Hugging Face transformers' generate() on the CPU, greedy with its cache.

Reads lines from standard input and answers each with one line of JSON, as bench/engine_worker.cpp does:
  decode N    {"seconds": [N of them]} of the N tokens behind the first one, after a prompt of 16
  prefill N   {"seconds": [one]} from a prompt of N tokens to the first one behind it

usage: generate.py DIR [--dtype fp32|bf16] [--experts eager|grouped_mm|batched_mm] [--threads N]
"""
import argparse
import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM
from transformers.generation.streamers import BaseStreamer


class Times(BaseStreamer):
    """When each token came; the first call brings the prompt."""

    def __init__(self):
        self.at = []

    def put(self, value):
        self.at.append(time.perf_counter())

    def end(self):
        pass


def answer(model, what, count):
    prompt = torch.randint(model.config.vocab_size, (1, 16 if what == "decode" else count))
    new = count + 1 if what == "decode" else 1
    times = Times()
    with torch.inference_mode():
        model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=new, min_new_tokens=new,
                       do_sample=False, streamer=times, pad_token_id=0)
    gaps = [after - before for before, after in zip(times.at, times.at[1:])]
    return gaps[1:] if what == "decode" else gaps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--experts", choices=["eager", "grouped_mm", "batched_mm"], default="eager")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    dtype = torch.float32 if args.dtype == "fp32" else torch.bfloat16
    model = AutoModelForCausalLM.from_pretrained(args.directory, dtype=dtype, experts_implementation=args.experts)
    model.generation_config.eos_token_id = None
    for line in sys.stdin:
        what, count = line.split()
        print(json.dumps(dict(seconds=answer(model.eval(), what, int(count)))), flush=True)


if __name__ == "__main__":
    main()
