"""A rival of serving: llama.cpp by llama-cpp-python, compiled for this CPU (./setup --llama), on a GGUF file.

Reads lines from standard input and answers each with one line of JSON, as bench/engine_worker.cpp does:
  decode N    {"seconds": [N of them]} of the N tokens behind the first one, after a prompt of 16
  prefill N   {"seconds": [one]} from a prompt of N tokens to the first one behind it
Tokens are random, the same number of bits is read for each; the most likely next one is found, not used.

usage: llama.py FILE.gguf [--threads N]        llama.py --version
"""
import argparse
import ctypes
import json
import random
import sys
import time

import llama_cpp
import numpy

CONTEXT, BATCH = 1024, 512


class Model:
    def __init__(self, file, threads):
        self.model = llama_cpp.Llama(model_path=file, n_ctx=CONTEXT, n_batch=BATCH, n_ubatch=BATCH, n_threads=threads,
                                     n_threads_batch=threads, n_gpu_layers=0, logits_all=False, verbose=False)
        self.context, self.size = self.model._ctx.ctx, self.model.n_vocab()

    def forget(self):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)

    def seconds(self, count):
        """So many random tokens more, and what comes next."""
        tokens = (ctypes.c_int32 * count)(*(random.randrange(self.size) for _ in range(count)))
        begin = time.perf_counter()
        if llama_cpp.llama_decode(self.context, llama_cpp.llama_batch_get_one(tokens, count)) != 0:
            sys.exit(f"llama.cpp: error: llama_decode failed on {count} tokens")
        logits = numpy.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self.context, -1), shape=(self.size,))
        logits.argmax()
        return time.perf_counter() - begin

    def answer(self, what, count):
        self.forget()
        if what == "prefill":
            return [self.seconds(count)]
        self.seconds(16)
        return [self.seconds(1) for _ in range(count)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--version", action="store_true", help="the package's version and what it was compiled for")
    args = parser.parse_args()
    if args.version:
        print(f"llama-cpp-python {llama_cpp.__version__}: {llama_cpp.llama_print_system_info().decode()}")
        return
    model = Model(args.file, args.threads)
    for line in sys.stdin:
        what, count = line.split()
        print(json.dumps(dict(seconds=model.answer(what, int(count)))), flush=True)


if __name__ == "__main__":
    main()
