"""Hugging Face tokenizers and transformers as peers of src/language/text.

tokenizer_peer.py encode TOKENIZER_JSON TEXTS_JSONL OUT_JSONL (as_text|parse)
    one JSON string per line in; {"ids": [...], "skipped": decoded text without special tokens} per line out
tokenizer_peer.py train TOKENIZER_JSON TEXTS_JSONL MIN_COUNT
    trains on the texts with the splits of that file; fails unless its merges are the file's
tokenizer_peer.py transformers DIRECTORY
    loads the directory with AutoTokenizer; fails unless special tokens and ids are as the files say
"""
import json
import sys

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers


def lines(path):
    with open(path, encoding="utf-8", newline="\n") as file:
        return [json.loads(line) for line in file]


def encode(tokenizer_json, texts, out, special):
    tokenizer = tokenizers.Tokenizer.from_file(tokenizer_json)
    with open(out, "w", encoding="utf-8") as file:
        for text in lines(texts):
            if special == "parse":
                ids = tokenizer.encode(text, add_special_tokens=False).ids
            else:  # a tokenizer that knows no added token
                ids = without_added(tokenizer_json).encode(text, add_special_tokens=False).ids
            json.dump({"ids": ids, "skipped": tokenizer.decode(ids, skip_special_tokens=True)}, file)
            file.write("\n")


def without_added(path, cache={}):
    if path not in cache:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        content["added_tokens"] = []
        cache[path] = tokenizers.Tokenizer.from_str(json.dumps(content))
    return cache[path]


def train(tokenizer_json, texts, min_count):
    with open(tokenizer_json, encoding="utf-8") as file:
        ours = json.load(file)
    splits = [p["pattern"]["Regex"] for p in ours["pre_tokenizer"]["pretokenizers"] if p["type"] == "Split"]
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(split), "isolated") for split in splits]
        + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    first = [token["content"] for token in ours["added_tokens"] if token["id"] < 3]
    trainer = trainers.BpeTrainer(
        vocab_size=len(ours["model"]["vocab"]), special_tokens=first, min_frequency=int(min_count),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    tokenizer.train_from_iterator(lines(texts), trainer)
    theirs = json.loads(tokenizer.to_str())["model"]
    merges = [" ".join(merge) for merge in theirs["merges"]]
    assert merges == ours["model"]["merges"], next(
        (i, a, b) for i, (a, b) in enumerate(zip(merges, ours["model"]["merges"])) if a != b)
    assert len(merges) > 1000, len(merges)
    for token, number in ours["model"]["vocab"].items():
        assert theirs["vocab"][token] == number, token


def transformers(directory):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 1, 2), tokenizer
    text = "Hello, wörld 12345!\n\n中文 <think>x"
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert ids == tokenizers.Tokenizer.from_file(directory + "/tokenizer.json").encode(text,
                                                                                       add_special_tokens=False).ids
    assert tokenizer.decode(ids) == text, tokenizer.decode(ids)


if __name__ == "__main__":
    {"encode": encode, "train": train, "transformers": transformers}[sys.argv[1]](*sys.argv[2:])
