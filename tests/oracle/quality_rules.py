"""Documents, and what datatrove's filters say of each: DIR/documents.jsonl, a line each with its text, and per rule set
the first rule that refuses it (by our names) or "", and of C4 what is left of the text.

usage: quality_rules.py DIR

The filters are datatrove's own files (.venv/share/datatrove-*); what they import of the package beside them is made
here.
Words and sentences are split as src/data/words.h and c4_lines.h say, since splitting is where libraries differ:
datatrove itself asks spaCy, which cuts contractions ("do", "n't"), joins numbers and addresses, and knows
abbreviations.
"""
import importlib
import json
import pathlib
import random
import sys
import sysconfig
import types
import unicodedata

HERE = pathlib.Path(__file__).resolve().parent.parent.parent
N_DOCUMENTS = 6000
NAMES = {
    "gopher_quality": {
        "gopher_short_doc": "min_words", "gopher_long_doc": "max_words", "gopher_below_avg_threshold": "min_mean_word",
        "gopher_above_avg_threshold": "max_mean_word", "gopher_too_many_hashes": "max_hashes",
        "gopher_too_many_ellipsis": "max_ellipses", "gopher_too_many_bullets": "max_bullet_lines",
        "gopher_too_many_end_ellipsis": "max_ellipsis_lines", "gopher_below_alpha_threshold": "min_words_with_letters",
        "gopher_enough_stop_words": "min_stop_words"},
    "gopher_repetition": {
        "dup_para_frac": "duplicate_paragraphs", "dup_para_char_frac": "duplicate_paragraph_characters",
        "dup_line_frac": "duplicate_lines", "dup_line_char_frac": "duplicate_line_characters",
        **{f"top_{n}_gram": f"top_{n}_gram" for n in (2, 3, 4)},
        **{f"duplicated_{n}_n_grams": f"duplicate_{n}_grams" for n in range(5, 11)}},
    "c4": {"lorem_ipsum": "no_lorem_ipsum", "curly_bracket": "no_brackets", "too_few_sentences": "min_sentences"},
    "fineweb": {"empty": "empty", "line_punct_ratio": "min_lines_with_punctuation",
                "short_line_ratio": "max_short_lines",
                "char_dup_ratio": "duplicate_line_characters", "list_ratio": "max_lines_per_word"}}


def in_word(c):
    return unicodedata.category(c)[0] in "LMN"


def split_into_words(text, language=None):
    words, i = [], 0
    while i < len(text):
        if text[i].isspace():
            i += 1
            continue
        end = i + 1
        if in_word(text[i]):
            while end < len(text) and (in_word(text[end]) or
                                       (text[end] in "'\u2019" and end + 1 < len(text) and in_word(text[end + 1]))):
                end += 1
        words.append(text[i:end])
        i = end
    return words


class Symbols:
    def __contains__(self, c):
        return unicodedata.category(c)[0] in "PS" or ord(c) < 0x20 or 0x7f <= ord(c) < 0xa0


def terminal_marks(share):
    source = (share / "text.py").read_text(encoding="utf-8")
    names = {}
    exec(source[source.index("TERMINAL_PUNCTUATION ="):source.index("PUNCTUATION_SET")], names)
    return names["TERMINAL_PUNCTUATION"]


def split_into_sentences(line, language=None):
    sentences, opened = [], False
    for i, c in enumerate(line):
        if c.isspace():
            continue
        opened = True
        last = i + 1 == len(line) or line[i + 1].isspace()
        quoted = c in "\"'\u201d" and i > 0 and line[i - 1] in MARKS
        if last and (c in MARKS or quoted):
            sentences.append(i)
            opened = False
    return sentences + [len(line)] * opened


def filters(share):
    """datatrove's filters, by our names of them."""
    def module(name, **members):
        made = types.ModuleType(name)
        made.__dict__.update(members)
        made.__path__ = []
        sys.modules[name] = made

    class BaseFilter:
        def __init__(self, exclusion_writer=None):
            pass

        def stat_update(self, *names):
            pass

    class Document:
        def __init__(self, text):
            self.text = text

    for name in ("datatrove", "datatrove.pipeline", "datatrove.pipeline.writers", "datatrove.utils"):
        module(name)
    module("datatrove.pipeline.filters")
    sys.modules["datatrove.pipeline.filters"].__path__ = [str(share)]
    module("datatrove.data", Document=Document)
    module("datatrove.io", cached_asset_path_or_download=None)
    module("datatrove.pipeline.filters.base_filter", BaseFilter=BaseFilter)
    module("datatrove.pipeline.writers.disk_base", DiskWriter=object)
    module("datatrove.utils.typeshelper", Languages=types.SimpleNamespace(english="eng"))
    module("datatrove.utils.text", split_into_words=split_into_words, split_into_sentences=split_into_sentences,
           PUNCTUATION_SET=Symbols(), TERMINAL_PUNCTUATION=MARKS)

    def of(file, name):
        return getattr(importlib.import_module("datatrove.pipeline.filters." + file), name)()
    return Document, {"gopher_repetition": of("gopher_repetition_filter", "GopherRepetitionFilter"),
                      "gopher_quality": of("gopher_quality_filter", "GopherQualityFilter"),
                      "c4": of("c4_filters", "C4QualityFilter"),
                      "fineweb": of("fineweb_quality_filter", "FineWebQualityFilter")}


def passages(draw):
    """Parts of what lies on this machine: sources, docstrings, licences."""
    texts = []
    for root in (pathlib.Path(sysconfig.get_paths()["stdlib"]), HERE / "docs"):
        for path in sorted(root.glob("*.py")) + sorted(root.glob("*.md")):
            texts.append(path.read_text(encoding="utf-8", errors="replace"))
    while True:
        text = draw.choice(texts)
        begin = draw.randrange(max(1, len(text) - 200))
        yield text[begin:begin + draw.choice([0, 40, 300, 1200, 5000])]


STORY = ("The people of the town said that they have to be kind to each other, and with time they were. "
         "It was a quiet place by the sea! Was that all? Nobody knew what the old man had done with his boat. ")


def prose(draw):
    words = STORY.split()
    lines = []
    for _ in range(draw.randrange(1, 30)):
        line = " ".join(draw.choice(words) for _ in range(draw.randrange(1, 25)))
        lines.append(line + draw.choice([".", ".", ".", "?", "!", "", "...", "\u2026", '."', "\u3002"]))
    return draw.choice(["\n", "\n", "\n\n", "\r\n", "\u2028", "\n\n\n"]).join(lines)


MUTATIONS = [
    lambda t, d: t, lambda t, d: t, lambda t, d: t,
    lambda t, d: "\n".join(line + "\n" + line for line in t.split("\n")),
    lambda t, d: "\n\n".join([t[:300]] * d.randrange(2, 6)) + "\n\n" + t,
    lambda t, d: t + " " + " ".join(["again and again"] * d.randrange(1, 60)),
    lambda t, d: "\n".join(d.choice(["- ", "\u2022 ", " -", ""]) + line for line in t.split("\n")),
    lambda t, d: "\n".join("- " + line for line in t.split("\n")),
    lambda t, d: t.replace(".", "..."), lambda t, d: t.replace(".", "\u2026"),
    lambda t, d: "\n".join(line.rstrip(".") + "..." for line in t.split("\n")),
    lambda t, d: t.replace(" ", d.choice([" # ", "  ", "\t", "\u3000"])),
    lambda t, d: t + d.choice(["{", " Lorem Ipsum", " javascript is here.", "\nPlease read our Privacy Policy here."]),
    lambda t, d: t.replace("the", "[12] the [edit]"), lambda t, d: t.upper(), lambda t, d: t.replace(" ", ""),
    lambda t, d: "".join(d.choice("0123456789 .,;") for _ in range(len(t))), lambda t, d: t.replace("\n", " "),
    lambda t, d: t.replace(" ", "\n"), lambda t, d: "Stra\u00dfe caf\u00e9 \u4f60\u597d\u3002" * d.randrange(1, 40) + t,
    lambda t, d: " ".join(w for w in t.split(" ") if w not in ("the", "be", "to", "of", "and", "that", "have", "with")),
    lambda t, d: t + "\n" + "x" * d.choice([5, 999, 1001]) + " is a long word here.",
]


def documents():
    draw = random.Random(1)
    real = passages(draw)
    while True:
        text = prose(draw) if draw.random() < 0.6 else next(real)
        for _ in range(draw.choice([0, 1, 1, 2])):
            text = draw.choice(MUTATIONS)(text, draw)
        if text:
            yield text


def main():
    global MARKS
    share, = (HERE / ".venv/share").glob("datatrove-*")
    MARKS = terminal_marks(share)
    document, sets = filters(share)
    made = documents()
    with open(pathlib.Path(sys.argv[1]) / "documents.jsonl", "w", encoding="utf-8") as out:
        for _ in range(N_DOCUMENTS):
            text = next(made)
            verdicts = {}
            for name, one in sets.items():
                try:
                    doc = document(text)
                    answer = one.filter(doc)
                except (ZeroDivisionError, AssertionError):  # of nothing but white space; datatrove stops there
                    verdicts[name] = None
                    continue
                verdicts[name] = "" if answer is True else f"{name}.{NAMES[name][answer[1]]}"
                if name == "c4" and answer is True:
                    verdicts["left"] = doc.text
            out.write(json.dumps({"text": text, **verdicts}) + "\n")


MARKS = set()
if __name__ == "__main__":
    main()
