"""A rival of serving: llama.cpp by llama-cpp-python, compiled for this CPU (./setup --llama), on a GGUF file.

Reads lines from standard input and answers each with one line of JSON, as bench/engine_worker.cpp does:
  decode N    {"seconds": [N of them]} of the N tokens behind the first one, after a prompt of 16
  prefill N   {"seconds": [one]} from a prompt of N tokens to the first one behind it
Tokens are random, the same number of bits is read for each; the most likely next one is found, not used.

By default weights are repacked where the library can; --mapped reads them as they lie in the file.

usage: llama.py FILE.gguf [--mapped] [--threads N]        llama.py --version
"""
import argparse
import ctypes
import json
import os
import random
import sys
import time

import llama_cpp
import numpy

CONTEXT, BATCH = 1024, 512


class Model:
    def __init__(self, file, threads, mapped):
        llama_cpp.llama_backend_init()
        how = llama_cpp.llama_model_default_params()
        how.use_extra_bufts = not mapped
        model = llama_cpp.llama_model_load_from_file(file.encode(), how)
        room = llama_cpp.llama_context_default_params()
        room.n_ctx, room.n_batch, room.n_ubatch = CONTEXT, BATCH, BATCH
        room.n_threads = room.n_threads_batch = threads
        self.context = model and llama_cpp.llama_init_from_model(model, room)
        if not self.context:
            sys.exit(f"llama.cpp: error: it does not load {file}")
        self.size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))

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
    parser.add_argument("--mapped", action="store_true")
    parser.add_argument("--version", action="store_true", help="the package's version and what it was compiled for")
    args = parser.parse_args()
    if args.version:
        print(f"llama-cpp-python {llama_cpp.__version__}: {llama_cpp.llama_print_system_info().decode()}")
        return
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the library prints too
    model = Model(args.file, args.threads, args.mapped)
    for line in sys.stdin:
        what, count = line.split()
        print(json.dumps(dict(seconds=model.answer(what, int(count)))), file=answers, flush=True)


if __name__ == "__main__":
    main()
