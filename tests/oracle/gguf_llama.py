"""Greedy tokens of llama.cpp on a GGUF file, as JSON. It exits with 77 when llama-cpp-python is not installed.

usage: gguf_llama.py FILE.gguf 1,2,3 N_TOKENS [TEXT]
       gguf_llama.py --logits FILE.gguf DIR
       gguf_llama.py --installed

The first prints {"tokens": [...], "text_ids": [ids of TEXT by llama.cpp's tokenizer]}; the second {"correlation": c}
between the logits of llama.cpp and those of transformers on the model in DIR, the lowest of some prompts.
"""
import json
import sys

PROMPTS = [[5, 6, 7, 8], [5], [100, 3, 77], [9, 9, 9, 200, 31, 32, 33]]


def open_model(llama_cpp, file):
    return llama_cpp.Llama(model_path=file, n_ctx=256, n_threads=2, n_gpu_layers=0, type_k=llama_cpp.GGML_TYPE_F32,
                           type_v=llama_cpp.GGML_TYPE_F32, flash_attn=False, logits_all=False, verbose=False)


def last_logits(llama_cpp, model, tokens):
    import numpy as np
    model.eval(tokens)
    return np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(model._ctx.ctx, -1), shape=(model.n_vocab(),)).copy()


def greedy(llama_cpp, file, prompt, n_tokens, text=None):
    model = open_model(llama_cpp, file)
    pending, tokens = [int(id) for id in prompt.split(",")], []
    for _ in range(int(n_tokens)):
        tokens.append(int(last_logits(llama_cpp, model, pending).argmax()))
        pending = [tokens[-1]]
    answer = {"tokens": tokens}
    if text is not None:
        answer["text_ids"] = model.tokenize(text.encode(), add_bos=False, special=False)
    return answer


def correlation(llama_cpp, file, directory):
    import numpy as np
    import torch
    from export_peer import load_in_transformers
    reference, lowest = load_in_transformers(directory).float().eval(), 1.0
    for prompt in PROMPTS:
        with torch.no_grad():
            theirs = reference(torch.tensor([prompt])).logits[0, -1].numpy()
        ours = last_logits(llama_cpp, open_model(llama_cpp, file), prompt)
        lowest = min(lowest, float(np.corrcoef(ours, theirs)[0, 1]))
    return {"correlation": lowest}


def main():
    try:
        import llama_cpp
    except ImportError:
        print("llama-cpp-python is not installed: run ./setup --llama")
        return 77
    if sys.argv[1] == "--logits":
        print(json.dumps(correlation(llama_cpp, *sys.argv[2:])))
    elif sys.argv[1] != "--installed":
        print(json.dumps(greedy(llama_cpp, *sys.argv[1:])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
