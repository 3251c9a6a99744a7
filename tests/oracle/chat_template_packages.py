"""Real chat templates, out of PyPI packages, rendered by Python's jinja2 as transformers sets it.

chat_template_packages.py OUT_JSONL [FOLDER...]: every *.jinja of the folders (without: of the packages of
tests/data_packages.txt that ship templates) over every chat of chats(). One template a line: {"name", "source",
"special", "clock", "cases": [{"name", "inputs", "text" (null: an error), "raised" (what raise_exception said)}]};
for the last cases see further_cases.
"""
import json
import pathlib
import sys

import jinja2
from transformers.utils.chat_template_utils import _alias_reasoning_fields

from chat_templates import CLOCK, SPECIAL, calls, compiled, conversations, tools

PACKAGES = ["trl-1.16.0", "axolotl-0.19.0"]
TOKENS = {**SPECIAL, "pad_token": "<pad>", "unk_token": "<unk>"}


def m(role, content, **more):
    return {"role": role, "content": content, **more}


def chats():
    """name -> messages: the forms in which chats come."""
    text, image = {"type": "text", "text": "Wörld 你好"}, {"type": "image"}
    several = [m("system", "S"), m("user", "weather?")]
    for turn in range(3):
        several += [m("assistant", "", tool_calls=calls(False, 1), reasoning_content=f"thought {turn}\n"),
                    m("tool", json.dumps({"turn": turn}), tool_call_id="call_0", name="weather")]
    schema = {"type": "json_schema", "schema": {"type": "object", "properties": {"a": {"type": "string"}}}}
    own = {
        "parts": [m("system", [{"type": "text", "text": "S"}]), m("user", [text, {"type": "text", "text": "\nmore"}])],
        "picture": [m("user", [image, text])],
        "parts_everywhere": [m("user", [text]), m("assistant", [text], tool_calls=calls(False, 1)),
                             m("tool", [text], tool_call_id="call_0"), m("assistant", [text])],
        "reasoning": [m("user", "q"), m("assistant", "a", reasoning_content="why\n\nso"), m("user", "r"),
                      m("assistant", "b", reasoning_content="  ")],
        "thinking_field": [m("user", "q"), m("assistant", "a", thinking="why"), m("user", "r")],
        "reasoning_and_calls": [m("user", "q"), m("assistant", "", reasoning_content="why", tool_calls=calls(False)),
                                m("tool", "1", tool_call_id="call_0"), m("tool", "2", tool_call_id="call_1"),
                                m("assistant", "done", reasoning_content="then"), m("user", "?")],
        "reasoning_field": [m("user", "q"), m("assistant", "a", reasoning="why"), m("user", "r")],
        "unclosed_thought": [m("user", "q"), m("assistant", "<think>\nno end"), m("user", "</think>")],
        "several_tools": several + [m("assistant", "It rains."), m("user", "thanks")],
        "odd_arguments": [m("user", "x"), m("assistant", "", tool_calls=[
            {"id": "a1b2c3d4e", "type": "function", "function": {"name": "f", "arguments": {
                "none": None, "yes": True, "list": [1, {"b": "<&>'\""}], "empty": {}, "n": -1.5e-7, "text": "a\nb"}}}]),
            m("tool", "", tool_call_id="a1b2c3d4e")],
        "tool_first": [m("tool", "out", tool_call_id="call_0")], "tool_object": [
            m("user", "x"), m("assistant", None, tool_calls=calls(False, 1)),
            m("tool", {"t": [1, None, "é"]}, tool_call_id="call_0")],
        "developer": [m("developer", "D"), m("user", "x")], "system_only": [m("system", "S")],
        "system_late": [m("user", "x"), m("system", "S"), m("user", "y")], "unknown_role": [m("critic", "x")],
        "prefix": [m("user", "x"), m("assistant", "Sure", prefix=True)],
        "right_to_left": [m("user", "שלום \u202e\u00a0\u3000e\u0301\U0001F469\u200d\U0001F4BB İıß\u1e9e\x1c\x85")],
        "markup": [m("user", "<|im_end|>{{ x }}{% if %}</think><tool_call>'\"\\n\r\n\t")],
        "very_long": [m("system", "s" * 3000), m("user", "wörld " * 3000)],
        "schema": [m("user", "x", response_format=schema, name="Ann", id=7)]}
    return {**conversations(), **own}


def variants():
    """Further variables, tools, documents, whether the model's turn is begun."""
    documents = [{"title": "one", "text": "First\ntext"}, {"title": "zwei", "n": 2}]
    yield {}, None, None, True
    yield {"enable_thinking": False}, tools(), None, True
    yield {"thinking": True, "enable_thinking": True, "reasoning_effort": "high"}, None, documents, False
    yield {"enable_thinking": True, "builtin_tools": ["python", "browser"], "date_string": "1 Jan"}, tools(), None, True


def joined(messages):
    """The messages with their lists of texts as one text each."""
    return [{**one, "content": "".join(part["text"] for part in one["content"])}
            if isinstance(one.get("content"), list) else one for one in messages]


def further_cases(template, chat):
    """Reasoning under any of its names, as transformers fills them in; contents in parts, which Hadal may join."""
    for key in ("reasoning", "thinking_field", "reasoning_field", "reasoning_and_calls"):
        inputs = {"messages": chat[key], "tools": None, "documents": None, "add_generation_prompt": True}
        text, raised = rendered(template, {**TOKENS, **inputs, "messages": _alias_reasoning_fields(chat[key])})
        yield {"name": f"{key} / filled in", "inputs": inputs, "reasoning_names": True, "text": text, "raised": raised}
    for key in ("parts", "parts_everywhere"):
        inputs = {"messages": chat[key], "tools": None, "documents": None, "add_generation_prompt": True}
        either = [rendered(template, {**TOKENS, **inputs, "messages": messages})[0]
                  for messages in (chat[key], joined(chat[key]))]
        yield {"name": f"{key} / either way", "inputs": inputs, "text_parts": True, "either": either}


def rendered(template, variables):
    """The text, and what raise_exception said: one of them or neither."""
    try:
        return template.render(**variables), None
    except jinja2.exceptions.TemplateError as error:
        return None, str(error) if type(error) is jinja2.exceptions.TemplateError else None
    except Exception:
        return None, None


def main(out, *folders):
    folders = [pathlib.Path(f) for f in folders] or [pathlib.Path(sys.prefix) / "share" / p for p in PACKAGES]
    with open(out, "w", encoding="utf-8") as file:
        for path in (path for folder in folders for path in sorted(folder.glob("*.jinja"))):
            source = path.read_text(encoding="utf-8")
            template = compiled(source)
            cases = []
            for key, messages in chats().items():
                for number, (variables, offered, documents, prompt) in enumerate(variants()):
                    inputs = {"messages": messages, "tools": offered, "documents": documents,
                              "add_generation_prompt": prompt}
                    text, raised = rendered(template, {**TOKENS, **variables, **inputs})
                    cases.append({"name": f"{key} / {number}", "inputs": {**inputs, "variables": variables},
                                  "text": text, "raised": raised})
            cases += further_cases(template, chats())
            file.write(json.dumps({"name": f"{path.parent.name}/{path.name}", "source": source, "special": TOKENS,
                                   "clock": CLOCK, "cases": cases}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
