"""Ids of tiktoken for large varied texts, with a directory as Moonlight and Kimi-K2 are downloaded.

tokenizer_tiktoken_peer.py make KIND DIRECTORY RANKS [SHARE]
    KIND ranks: the vocabulary is the given file of "BASE64 RANK" lines; odd: its first 20,000 tokens with some more
    that no merging of lower ranks makes. Writes DIRECTORY/tiktoken.model, tokenizer_config.json and what
    tokenizer_released_peer.py writes of texts and ids.
"""
import base64
import json
import os
import random
import sys

import tiktoken
import tokenizer_released_peer as peer

NAMED = {0: "[BOS]", 1: "[EOS]", 2: "<|im_end|>", 3: "<|im_user|>", 4: "<|im_assistant|>", 6: "<|start_header_id|>",
         7: "<|end_header_id|>", 9: "[EOT]", 10: "<|im_system|>", 11: "<|tool_calls_section_begin|>",
         17: "<|im_middle|>", 254: "[UNK]", 255: "[PAD]"}


def read_ranks(path):
    with open(path, "rb") as file:
        return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in file if line.strip())}


def odd(ranks):
    """A vocabulary that no training makes: tokens out of order, of parts that are none, of bytes that overlap."""
    tokens = [token for token, rank in sorted(ranks.items(), key=lambda item: item[1]) if rank < 20000]
    draw = random.Random(3)
    more = {b"ab" * n for n in range(2, 9)} | {b"aba", b"bab", b"babab"} | {b" " * n for n in range(3, 40, 3)}
    more |= {("的一是" * n).encode()[:7 * n] for n in range(1, 5)} | {"Straße".encode()[:6], b"qzqzjx", b"zqj"}
    for _ in range(3000):
        more.add(b"".join(draw.choices(tokens, k=draw.choice((2, 2, 3, 4))))[draw.randrange(3):][:24])
    single = [token for token in tokens if len(token) == 1]
    others = sorted((set(tokens) | more) - set(single) - {b""})
    draw.shuffle(others)
    return {token: rank for rank, token in enumerate(single + others)}


def make(kind, directory, source, share="1"):
    ranks = read_ranks(source)
    if kind == "odd":
        ranks = odd(ranks)
    with open(os.path.join(directory, "tiktoken.model"), "wb") as file:
        for token, rank in ranks.items():
            file.write(base64.b64encode(token) + b" %d\n" % rank)
    first = len(ranks)
    decoder = {str(first + slot): {"content": name, "lstrip": False, "normalized": False, "rstrip": False,
                                   "single_word": False, "special": "tool" not in name}
               for slot, name in NAMED.items()}
    with open(os.path.join(directory, "tokenizer_config.json"), "w", encoding="utf-8") as file:
        json.dump({"added_tokens_decoder": decoder, "bos_token": "[BOS]", "eos_token": "[EOS]", "pad_token": "[PAD]",
                   "unk_token": "[UNK]", "tokenizer_class": "TikTokenTokenizer", "additional_special_tokens": [
                       "<|im_end|>", "<|im_user|>"]}, file)
    special = {NAMED.get(slot, f"<|reserved_token_{first + slot}|>"): first + slot for slot in range(256)}
    encoding = tiktoken.Encoding(name="kimi", pat_str=peer.KIMI, mergeable_ranks=ranks, special_tokens=special)
    plain = [text for text in (token.decode("utf-8", "replace") for token in list(ranks)[::3]) if "\ufffd" not in text]
    documents = peer.texts_of(kind, list(special)[:20] + [f"<|reserved_token_{first + 100}|>"], plain)[::int(share)]
    peer.write(os.path.join(directory, "texts.bin"), [text.encode() for text in documents], None)
    peer.write(os.path.join(directory, "ids_as_text.bin"),
               [encoding.encode(text, disallowed_special=()) for text in documents], "i")
    peer.write(os.path.join(directory, "ids_parse.bin"),
               [encoding.encode(text, allowed_special="all") for text in documents], "i")
    ids = encoding.encode("abc")
    with open(os.path.join(directory, "template.json"), "w", encoding="utf-8") as file:
        json.dump({"with": ids, "without": ids}, file)
    print(sum(len(text.encode()) for text in documents), "bytes,", tiktoken.__version__)


if __name__ == "__main__":
    {"make": make}[sys.argv[1]](*sys.argv[2:])
