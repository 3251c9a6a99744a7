"""Ids of Hugging Face tokenizers for large varied texts, written for src/language/text's tests to compare.

tokenizer_released_peer.py make KIND DIRECTORY [TOKENIZER_JSON [SHARE]]
    KIND released: the texts go with the given file; gpt2 and llama3: a small tokenizer.json of that style is trained
    first, of kimi with the expression of Kimi-K2. SHARE n takes every nth text. Writes DIRECTORY/tokenizer.json,
    texts.bin (int64 length, bytes, ...) and ids_{as_text,parse}.bin (int64 count, int32 ids, ...); prints the bytes of
    the texts.
"""
import json
import os
import random
import shutil
import struct
import sys

import tokenizers
import tokenizer_texts
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

NOT_HAN = r"&&[^\p{Han}]]"
UPPER, LOWER = (rf"[\p{{{case}}}\p{{Lm}}\p{{Lo}}\p{{M}}" + NOT_HAN for case in (r"Lu}\p{Lt", "Ll"))
CONTRACTED = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
KIMI = "|".join([r"[\p{Han}]+", r"[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + "+" + CONTRACTED,
                 r"[^\r\n\p{L}\p{N}]?" + UPPER + "+" + LOWER + "*" + CONTRACTED, r"\p{N}{1,3}",
                 r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def train(kind, path):
    tokenizer = Tokenizer(models.BPE(ignore_merges=kind == "llama3"))
    if kind == "gpt2":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    else:
        split = KIMI if kind == "kimi" else LLAMA3
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(split), "isolated"),
                                                           pre_tokenizers.ByteLevel(add_prefix_space=False,
                                                                                    use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=8000, special_tokens=["<|begin_of_text|>", "<|end_of_text|>"],
                                  show_progress=False, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(tokenizer_texts.code(1_000_000) + tokenizer_texts.english(1_000_000)
                                  + list(tokenizer_texts.random_mixes(1, 300, 100)), trainer)
    tokenizer.add_tokens([AddedToken("<|left|>", lstrip=True), AddedToken("<|right|>", rstrip=True, normalized=False),
                          AddedToken("<|word|>", single_word=True),
                          AddedToken("word", single_word=True, normalized=False),
                          AddedToken("<|both|>", lstrip=True, rstrip=True, normalized=True),
                          AddedToken(" blank", normalized=True)])
    if kind == "llama3":
        tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True),
                                                        processors.TemplateProcessing(
            single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|> $B",
            special_tokens=[("<|begin_of_text|>", 0)])])
    tokenizer.save(path)


def texts(kind, tokenizer):
    added = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    plain = [text for text in (tokenizer.decode([i]) for i in range(0, tokenizer.get_vocab_size(), 3))
             if "\ufffd" not in text and text]
    return texts_of(kind, added, plain)


def texts_of(kind, added, plain):
    scale = 1 if kind == "released" else 0.25
    out = list(tokenizer_texts.chunks(tokenizer_texts.every_code_point(), 2000)) if kind != "gpt2" else []
    out += tokenizer_texts.code(int(4e6 * scale)) + tokenizer_texts.english(int(3e6 * scale))
    out += list(tokenizer_texts.long_runs())
    out += list(tokenizer_texts.random_mixes(7, int(3000 * scale), 400, added))
    out += list(tokenizer_texts.random_tokens(8, int(1500 * scale), 400, plain))
    out += [" ".join(added), "".join(added), "x".join(added), " \n".join(added[::-1]), ""]
    mixer = random.Random(9)
    out += [mixer.choice(["", " ", "a", "\u00e9", "_", "\u24d0", "\u0301", "-", "\t\u3000",
                          "1"]).join(mixer.choices(added, k=6)) for _ in range(3000)]
    return out


def write(path, lists, code):
    with open(path, "wb") as file:
        for items in lists:
            file.write(struct.pack("<q", len(items)))
            file.write(items if code is None else struct.pack(f"<{len(items)}{code}", *items))


def make(kind, directory, source=None, share="1"):
    path = os.path.join(directory, "tokenizer.json")
    if kind == "released":
        shutil.copy(source, path)
    else:
        train(kind, path)
    tokenizer = Tokenizer.from_file(path)
    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    content["added_tokens"] = []
    content["post_processor"] = None
    as_text = Tokenizer.from_str(json.dumps(content))
    documents = texts(kind, tokenizer)[::int(share)]
    write(os.path.join(directory, "texts.bin"), [text.encode() for text in documents], None)
    for name, peer in (("as_text", as_text), ("parse", tokenizer)):
        write(os.path.join(directory, f"ids_{name}.bin"),
              [e.ids for e in peer.encode_batch_fast(documents, add_special_tokens=False)], "i")
    with_template = tokenizer.encode("abc").ids
    with open(os.path.join(directory, "template.json"), "w", encoding="utf-8") as file:
        json.dump({"with": with_template, "without": tokenizer.encode("abc", add_special_tokens=False).ids}, file)
    print(sum(len(text.encode()) for text in documents), "bytes,", tokenizers.__version__)


if __name__ == "__main__":
    {"make": make}[sys.argv[1]](*sys.argv[2:])
