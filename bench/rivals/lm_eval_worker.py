"""A rival of evaluating: lm-eval through its Hugging Face backend on the CPU, in FP32.

Reads lines "TASK LIMIT BATCH" from standard input and answers each with one line of JSON, {"seconds": ...}: what asking
and grading took, without loading the model.

usage: lm_eval_worker.py DIR TASK_FOLDER [--experts eager|grouped_mm|batched_mm] [--threads N]
"""
import argparse
import json
import logging
import os
import sys
import time

for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_EVALUATE_OFFLINE"):
    os.environ[name] = "1"

import torch  # noqa: E402: after what it reads
import lm_eval  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("tasks")
    parser.add_argument("--experts", choices=["eager", "grouped_mm", "batched_mm"], default="eager")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.disable(logging.WARNING)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what lm-eval prints is no answer
    model = AutoModelForCausalLM.from_pretrained(args.directory, dtype=torch.float32,
                                                 experts_implementation=args.experts)
    tokenizer = AutoTokenizer.from_pretrained(args.directory)
    manager = TaskManager(include_path=args.tasks, include_defaults=False)
    for line in sys.stdin:
        task, limit, batch = line.split()
        client = HFLM(pretrained=model.eval(), tokenizer=tokenizer, batch_size=int(batch))
        begin = time.perf_counter()
        lm_eval.simple_evaluate(model=client, tasks=[task], task_manager=manager, limit=int(limit), bootstrap_iters=0)
        print(json.dumps({"seconds": time.perf_counter() - begin}), file=answers, flush=True)


if __name__ == "__main__":
    main()
