"""Words and near duplicates as others see them, written for tests/data/near_duplicates_peer_test.cpp.

DIR/words.jsonl    {"text", "words", "kept"}: words of texts by datatrove's own simplify_text (numbers folded, and not),
                   its punctuation being all that is no letter, mark or number here, and no weekdays and months
DIR/letters.jsonl  [code point, what it is compared as]: every letter, by Python's unicodedata
DIR/texts.jsonl    {"text", "bucket"}: documents, and whether datatrove's signatures of it and that in the line before
                   agree in a bucket

usage: near_duplicates.py DIR words|pairs

The files are datatrove's own (.venv/share/datatrove-*); what they import of the package beside them is made here. Words
are split at blanks: datatrove asks spaCy, where libraries differ.
"""
import dataclasses
import itertools
import json
import pathlib
import random
import re
import sys
import types
import unicodedata

import numpy
import regex
import xxhash

HERE = pathlib.Path(__file__).resolve().parent.parent.parent
N_TEXTS, N_PAIRS = 2000, 1500


class Borders(dict):
    """A table for str.translate: what is no letter, mark or number is a blank."""
    def __missing__(self, code):
        kind = unicodedata.category(chr(code))[0]
        self[code] = code if kind in "LMN" else " "
        return self[code]


def text_functions(share):
    source = (share / "text.py").read_text(encoding="utf-8")
    names = {"re": re, "regex": regex, "unicodedata": unicodedata, "dataclass": dataclasses.dataclass,
             "tee": itertools.tee, "Iterable": object, "PUNCTUATION_TRANS": Borders()}
    exec(source[source.index("@dataclass\nclass TextNormConfig"):source.index("SPLIT_TEXT_DOCUMENTS =")], names)
    return names


def signatures(share, names):
    """datatrove's class of signatures, with 64-bit xxhash."""
    source = (share / "minhash.py").read_text(encoding="utf-8")
    begin, end = source.index("class MinhashDedupSignature"), source.index("    def check_can_skip_sig_writing")
    config = types.SimpleNamespace(
        n_grams=5, num_buckets=14, hashes_per_bucket=8, seed=1,
        norm_config=names["TextNormConfig"](norm_weekdays=False, norm_monthnames=False),
        hash_config=types.SimpleNamespace(precision=64, np_dtype=numpy.uint64, max=2**64 - 1))
    members = {"PipelineStep": object, "DataFolderLike": object, "MinhashConfig": object, "np": numpy,
               "Languages": types.SimpleNamespace(english="eng"), "get_datafolder": lambda folder: folder,
               "create_hash_func": lambda config: lambda words: xxhash.xxh64_intdigest(words.encode()),
               "_mersenne_prime": numpy.uint64((1 << 61) - 1),
               "load_word_tokenizer": lambda language: types.SimpleNamespace(word_tokenize=str.split),
               "ngrams": names["ngrams"], "simplify_text": names["simplify_text"]}
    exec(source[begin:end], members)
    return members["MinhashDedupSignature"]("", config)


def texts(draw):
    parts = ["The", "sea,", "OLD", "boats", "naïve", "Ünion", "don't", "3.5", "1,250", "x12y", "42", "7",
             "\u0663\u066b\u0664", "Straße", "ΆΛΦΑ", "Ёлка", "cafe\u0301", "...", "--", "“so”", "\u2028", "\u00a0",
             "İstanbul", "Ǆ", "ﬁ",
             "1.2.3", "(a)", "a_b", "e\u0301\u0302", "\u0301", "Việt", "€5", "c++", "\t", "\n\n"]
    for _ in range(N_TEXTS):
        yield "".join(draw.choice(parts) + draw.choice([" ", " ", " ", "  ", "", "\n", "-"])
                      for _ in range(draw.randrange(1, 40)))


def folded(code):
    letters = [c for c in unicodedata.normalize("NFD", chr(code).lower()) if unicodedata.category(c) != "Mn"]
    return letters[0] if len(letters) == 1 else chr(code)


def pairs(draw):
    words = ["w%d" % i for i in range(3000)]
    for _ in range(N_PAIRS):
        first = [draw.choice(words) for _ in range(120)]
        second = list(first)
        for _ in range(draw.randrange(0, 8)):
            second[draw.randrange(len(second))] = draw.choice(words)
        yield " ".join(first), " ".join(second)


def signed(texts, theirs):
    for first, second in texts:
        a, b = (theirs.get_signature(theirs.get_shingles(text)) for text in (first, second))
        yield {"text": first, "bucket": False}
        yield {"text": second, "bucket": any(x == y for x, y in zip(a, b))}


def write(path, rows):
    with open(path, "w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row) + "\n")


def main():
    share, = (HERE / ".venv/share").glob("datatrove-*")
    directory, draw = pathlib.Path(sys.argv[1]), random.Random(1)
    names = text_functions(share)
    fold = names["TextNormConfig"](norm_weekdays=False, norm_monthnames=False)
    keep = dataclasses.replace(fold, norm_numbers=False)
    simplify = names["simplify_text"]
    if sys.argv[2] == "pairs":
        return write(directory / "texts.jsonl", signed(pairs(draw), signatures(share, names)))
    write(directory / "words.jsonl", ({"text": text, "words": simplify(text, fold).split(),
                                       "kept": simplify(text, keep).split()} for text in texts(draw)))
    write(directory / "letters.jsonl", ([code, folded(code)] for code in range(0x80, 0x40000)
                                        if unicodedata.category(chr(code))[0] == "L"))


if __name__ == "__main__":
    numpy.seterr(over="ignore")
    main()
