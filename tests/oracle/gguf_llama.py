"""Greedy tokens of llama.cpp on a GGUF file, as one JSON list. It exits with 77 when llama-cpp-python is not installed.

usage: gguf_llama.py FILE.gguf 1,2,3 N_TOKENS [TEXT]
       gguf_llama.py --installed

With TEXT it prints {"tokens": [...], "text_ids": [...]}: the ids of TEXT by llama.cpp's tokenizer as well.
"""
import json
import sys


def main():
    try:
        import llama_cpp
    except ImportError:
        print("llama-cpp-python is not installed: run ./setup --llama")
        return 77
    if sys.argv[1] == "--installed":
        return 0
    import numpy as np

    file, prompt, n_tokens = sys.argv[1], [int(id) for id in sys.argv[2].split(",")], int(sys.argv[3])
    model = llama_cpp.Llama(model_path=file, n_ctx=256, n_threads=2, n_gpu_layers=0, type_k=llama_cpp.GGML_TYPE_F32,
                            type_v=llama_cpp.GGML_TYPE_F32, flash_attn=False, logits_all=False, verbose=False)
    tokens, n_vocab = [], model.n_vocab()
    pending = prompt
    for _ in range(n_tokens):
        model.eval(pending)
        logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(model._ctx.ctx, -1), shape=(n_vocab,))
        tokens.append(int(np.argmax(logits)))
        pending = [tokens[-1]]
    answer = {"tokens": tokens}
    if len(sys.argv) > 4:
        answer["text_ids"] = model.tokenize(sys.argv[4].encode(), add_bos=False, special=False)
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
