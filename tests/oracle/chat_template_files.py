"""Which of a directory's chat templates transformers takes, as the peer of src/language/text/chat_files.h.

chat_template_files.py OUT: writes OUT/N/ (a directory as models come) and OUT/cases.json, a list of
{"directory", "name" (null: none was asked for), "tools", "source" (null: an error)}.
"""
import itertools
import json
import pathlib
import sys

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

IN_CONFIG = {
    "absent": None, "text": "text",
    "list": [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}],
    "list_of_one": [{"name": "default", "template": "d"}], "lone": [{"name": "rag", "template": "r"}],
    "twice": [{"name": "default", "template": "d"}, {"name": "default", "template": "later"}],
    "object": {"tool_use": "t", "rag": "r", "default": "d"}, "no_default": {"rag": "r", "tool_use": "t"}}
IN_FILES = {"none": {}, "own": {"chat_template.jinja": "own\r\nline\n"},
            "more": {"chat_template.jinja": "own", "additional_chat_templates/tool_use.jinja": "more tools"},
            "only_more": {"additional_chat_templates/rag.jinja": "more rag"},
            "shadowed": {"chat_template.jinja": "own", "additional_chat_templates/default.jinja": "more default",
                         "additional_chat_templates/x.txt": "no"}}
TOOLS = [None, [], [{"type": "function", "function": {"name": "f", "parameters": {}}}]]


def main(out):
    cases = []
    for number, (config, files) in enumerate(itertools.product(IN_CONFIG, IN_FILES)):
        directory = pathlib.Path(out) / str(number)
        (directory / "additional_chat_templates").mkdir(parents=True)
        Tokenizer(models.WordLevel({"a": 0}, "a")).save(str(directory / "tokenizer.json"))
        settings = {"tokenizer_class": "PreTrainedTokenizerFast"}
        if IN_CONFIG[config] is not None:
            settings["chat_template"] = IN_CONFIG[config]
        (directory / "tokenizer_config.json").write_text(json.dumps(settings))
        for name, text in IN_FILES[files].items():
            (directory / name).write_text(text, newline="")
        tokenizer = PreTrainedTokenizerFast.from_pretrained(str(directory))
        known = tokenizer.chat_template
        for name in [None, *(known if isinstance(known, dict) else [])]:
            for tools in TOOLS:
                try:
                    source = tokenizer.get_chat_template(name, tools)
                except ValueError:
                    source = None
                cases.append({"directory": str(directory), "name": name, "tools": tools, "source": source})
    (pathlib.Path(out) / "cases.json").write_text(json.dumps(cases))


if __name__ == "__main__":
    main(*sys.argv[1:])
