"""What transformers' AutoTokenizer makes of tokens and settings in the files beside a tokenizer.json.

tokenizer_settings_peer.py make DIRECTORY COUNT OUT_JSONL
    writes random small tokenizers to DIRECTORY/0, 1, ... and, one line each, what transformers has read: added tokens
    with their flags, the ids of BOS, EOS and PAD, and a text's ids with added tokens parsed
"""
import json
import os
import random
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import transformers  # noqa: E402
from tokenizers import pre_tokenizers  # noqa: E402

transformers.logging.set_verbosity_error()
FLAGS = ["single_word", "lstrip", "rstrip", "normalized", "special"]
NAMES = ["bos_token", "eos_token", "pad_token", "unk_token", "cls_token", "image_token"]
CONTENTS = ["<a>", "<b>", "<c>", "<｜d｜>", "[E]", "ab", "abc", "<end>", "<pad>", "word"]
TEXT = ("x<a> y <b>\t<c>ab abc<｜d｜> <｜d｜>[E]  <end><pad> word sword words <f>"
        "<g> a<a>b \u00e9 <end> ")


def tokenizer_json(added):
    vocab = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocab |= {"ab": 256, "abc": 257, "Ġw": 258}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {"version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [dict(token, id=259 + i) for i, token in enumerate(added)], "normalizer": None,
            "pre_tokenizer": byte_level, "post_processor": None, "decoder": byte_level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                      "vocab": vocab, "merges": ["a b", "ab c", "Ġ w"]}}


class Case:
    def __init__(self, seed):
        self.dice = random.Random(seed)
        contents = self.dice.sample(["<end>", "<pad>", "<a>", "[E]"], self.dice.randint(1, 3))
        self.files = {"tokenizer.json": tokenizer_json([self.flags(content) for content in contents]),
                      "config.json": {"model_type": "deepseek_v3"}}
        self.next = 259 + len(contents)
        self.has_added = self.maybe()
        if self.maybe(0.85):
            self.files["tokenizer_config.json"] = self.config()
        if self.maybe(0.5):
            self.files["special_tokens_map.json"] = self.special_map()
        if self.has_added:
            self.files["added_tokens.json"] = self.added()

    def maybe(self, chance=0.4):
        return self.dice.random() < chance

    def content(self):
        return self.dice.choice(CONTENTS)

    def flags(self, content):
        return {"content": content, **{flag: self.maybe(0.5 if flag == "special" else 0.25) for flag in FLAGS}}

    def object(self):
        token = self.flags(self.content())
        del token["special"]
        return {"__type": "AddedToken", **token}

    def numbered(self):
        """Tokens with the ids that they get: those of the tokenizer's own, or the next."""
        ids = {token["content"]: token["id"] for token in self.files["tokenizer.json"]["added_tokens"]}
        for content in self.dice.sample(CONTENTS + ["<f>", "<g>"], self.dice.randint(0, 5)):
            if content in ("ab", "abc"):
                yield {"ab": 256, "abc": 257}[content], content
            elif content in ids:
                yield ids[content], content
            else:
                yield self.next, content
                self.next += 1

    def config(self):
        config = {"tokenizer_class": self.dice.choice(["PreTrainedTokenizerFast", "LlamaTokenizerFast"])}
        for name in NAMES:
            if self.maybe():
                # by an object's name transformers does not know the token in added_tokens.json as special
                config[name] = self.object() if self.maybe() and not self.has_added else self.content()
        if self.maybe(0.2):
            config["pad_token"] = None
        if self.maybe():
            config["additional_special_tokens"] = self.dice.sample(CONTENTS, self.dice.randint(0, 3))
        if self.maybe(0.3):
            config["extra_special_tokens"] = self.dice.sample(CONTENTS, self.dice.randint(0, 2))
        elif self.maybe(0.2):
            config["extra_special_tokens"] = {"audio_token": self.content(), "video_token": self.content()}
        if self.maybe():
            decoder = {str(id): self.flags(content) for id, content in self.numbered()}
            # one that was special and is no longer says so in transformers, and is left out in decoding all the same
            special = {token["content"] for token in self.files["tokenizer.json"]["added_tokens"] if token["special"]}
            config["added_tokens_decoder"] = {id: token | {"special": token["special"] or token["content"] in special}
                                              for id, token in decoder.items()}
        return config

    def special_map(self):
        names = {}
        for name in NAMES[:4]:
            if self.maybe():
                token = self.flags(self.content())
                del token["special"]
                names[name] = token if self.maybe() else token["content"]
        if self.maybe(0.2):
            names["eos_token"] = None
        if self.maybe():
            names["additional_special_tokens"] = self.dice.sample(CONTENTS, self.dice.randint(1, 3))
        return names

    def added(self):
        if "added_tokens_decoder" in self.files.get("tokenizer_config.json", {}):
            return {"<f>": 999}  # does not count beside added_tokens_decoder
        return {content: id for id, content in self.numbered()}


def make(directory, count, out):
    with open(out, "w", encoding="utf-8") as file:
        for n in range(count):
            place = os.path.join(directory, str(n))
            os.makedirs(place)
            files = Case(n).files
            for name, value in files.items():
                with open(os.path.join(place, name), "w", encoding="utf-8") as text:
                    json.dump(value, text)
            tokenizer = transformers.AutoTokenizer.from_pretrained(place)
            assert type(tokenizer).__name__ == "TokenizersBackend", type(tokenizer)
            added = [{"id": id, "content": token.content, **{flag: getattr(token, flag) for flag in FLAGS}}
                     for id, token in sorted(tokenizer.added_tokens_decoder.items())]
            ids = tokenizer.encode(TEXT, add_special_tokens=False)
            json.dump({"added": added, "names": [tokenizer.bos_token_id, tokenizer.eos_token_id,
                                                 tokenizer.pad_token_id], "text": TEXT, "ids": ids,
                       "skipped": tokenizer.decode(ids, skip_special_tokens=True)}, file)
            file.write("\n")


if __name__ == "__main__":
    make(sys.argv[2], int(sys.argv[3]), sys.argv[4])
