#!/usr/bin/env python3
"""PyPI's `openai` client against a running `hadal serve`: completions, chats, responses, streams, log-probabilities,
errors; with --structured also structured output and forced tool calls, whose answers `jsonschema_rs` validates.

usage: openai_client.py URL KEY MODEL [--structured]

Prints one line per thing that was tried and ends with "all N fine"; an assertion that fails ends it with 1.
"""
import json
import re
import sys

import jsonschema_rs
import openai

TRIED = []


def tried(what):
    TRIED.append(what)
    print(what)


def completions(client, model):
    one = client.completions.create(model=model, prompt="the sea", max_tokens=24, seed=7, temperature=1)
    assert one.object == "text_completion" and one.choices[0].finish_reason in ("stop", "length")
    assert one.usage.total_tokens == one.usage.prompt_tokens + one.usage.completion_tokens
    again = client.completions.create(model=model, prompt="the sea", max_tokens=24, seed=7, temperature=1)
    assert again.choices[0].text == one.choices[0].text
    tried("completion")

    stream = client.completions.create(model=model, prompt="the sea", max_tokens=24, seed=7, temperature=1, stream=True,
                                       stream_options={"include_usage": True})
    chunks = list(stream)
    assert "".join(c.choices[0].text for c in chunks if c.choices) == one.choices[0].text
    assert chunks[-1].usage == one.usage and not chunks[-1].choices
    tried("streamed completion")

    both = client.completions.create(model=model, prompt=["the sea", "sky"], n=2, best_of=2, max_tokens=5, seed=7)
    assert [c.index for c in both.choices] == [0, 1, 2, 3]
    tried("several prompts and answers")

    ids = client.completions.create(model=model, prompt=[5, 6, 7], max_tokens=1, echo=True, logprobs=1, temperature=0)
    scored = ids.choices[0].logprobs
    assert len(scored.tokens) == len(scored.token_logprobs) == len(scored.top_logprobs) == len(scored.text_offset) == 4
    assert scored.token_logprobs[0] is None and all(isinstance(p, float) for p in scored.token_logprobs[1:])
    tried("ids with echo and log-probabilities, as lm-eval asks")

    hole = client.completions.create(model=model, prompt="def f(", suffix="return x", max_tokens=5)
    assert hole.choices[0].text is not None
    tried("a hole")


def chats(client, model):
    messages = [{"role": "developer", "content": "be brief"}, {"role": "user", "content": "why?"}]
    one = client.chat.completions.create(model=model, messages=messages, max_completion_tokens=20, seed=3, n=2,
                                         logprobs=True, top_logprobs=3)
    assert len(one.choices) == 2 and one.choices[0].message.role == "assistant"
    scored = one.choices[0].logprobs.content
    assert len(scored) >= 1 and len(scored[0].top_logprobs) == 3
    written = b"".join(bytes(token.bytes) for token in scored)
    assert written.decode(errors="replace").startswith(one.choices[0].message.content[:3])
    tried("chat with log-probabilities")

    stream = client.chat.completions.create(model=model, messages=messages, max_completion_tokens=20, seed=3, n=2,
                                            stream=True, stream_options={"include_usage": True})
    texts, usage = ["", ""], None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == [c.message.content for c in one.choices]
    assert usage == one.usage
    tried("streamed chat")

    with client.chat.completions.stream(model=model, messages=messages, max_completion_tokens=20, seed=3) as events:
        text = "".join(event.delta for event in events if event.type == "content.delta")
    assert text == one.choices[0].message.content
    tried("the client's own gathering of a stream")

    thought = client.chat.completions.create(model=model, messages=messages, max_tokens=9, seed=3,
                                             extra_body={"chat_template_kwargs": {"thinking": True}})
    assert thought.choices[0].message.reasoning_content
    tried("reasoning_content")

    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    called = client.chat.completions.create(model=model, messages=messages, tools=tools, max_tokens=5)
    assert called.choices[0].finish_reason in ("stop", "length", "tool_calls")
    asked = messages + [{"role": "assistant", "content": None, "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
                        {"role": "tool", "tool_call_id": "call_1", "content": "42"}]
    client.chat.completions.create(model=model, messages=asked, tools=tools, max_tokens=5)
    tried("tools and their answers")


def responses(client, model):
    asked = {"model": model, "input": "why?", "max_output_tokens": 20, "extra_body": {"seed": 3}}
    one = client.responses.create(**asked)
    assert one.object == "response" and one.status in ("completed", "incomplete")
    assert one.usage.total_tokens == one.usage.input_tokens + one.usage.output_tokens
    if one.status == "incomplete":
        assert one.incomplete_details.reason == "max_output_tokens"
    chat = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "why?"}], seed=3,
                                          max_completion_tokens=20)
    assert one.output_text == chat.choices[0].message.content and one.output[-1].type == "message"
    tried("response, which says what the chat says")

    events = list(client.responses.create(**asked, stream=True))
    kinds = [event.type for event in events]
    assert kinds[:4] == ["response.created", "response.in_progress", "response.output_item.added",
                         "response.content_part.added"], kinds
    assert kinds[-4:-1] == ["response.output_text.done", "response.content_part.done", "response.output_item.done"]
    assert kinds[-1] == "response." + one.status and set(kinds[4:-4]) == {"response.output_text.delta"}
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == one.output_text
    assert events[-1].response.output_text == one.output_text and events[-1].response.usage == one.usage
    tried("streamed response")

    long = {**asked, "max_output_tokens": 200}
    with client.responses.stream(**long) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
    whole = client.responses.create(**long)
    assert text == whole.output_text
    if whole.status == "completed":
        assert stream.get_final_response().output_text == text
    tried("the client's own gathering of a response")

    thinks = {**asked, "extra_body": {"seed": 3, "chat_template_kwargs": {"thinking": True}}}
    thought = client.responses.create(**thinks)
    assert thought.output[0].type == "reasoning" and thought.output[0].content[0].text
    assert thought.usage.output_tokens_details.reasoning_tokens > 0
    kinds = [event.type for event in client.responses.create(**thinks, stream=True)]
    assert "response.reasoning_text.delta" in kinds and "response.reasoning_text.done" in kinds
    tried("reasoning of a response")

    tools = [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False}]
    turns = [{"role": "user", "content": [{"type": "input_text", "text": "why?"}]}]
    turns += [item.to_dict() for item in one.output]
    turns += [{"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
              {"type": "function_call_output", "call_id": "call_1", "output": "42"}]
    more = client.responses.create(model=model, instructions="be brief", input=turns, tools=tools, max_output_tokens=5)
    assert more.usage.input_tokens > one.usage.input_tokens and more.tools[0].name == "f"
    tried("items of a response in the next one")

    for stored in ({"previous_response_id": one.id}, {"store": True}, {"background": True},
                   {"conversation": "conv_1"}, {"prompt": {"id": "p"}},
                   {"input": [{"type": "item_reference", "id": one.id}]},
                   {"text": {"format": {"type": "xml"}}}):
        try:
            client.responses.create(**{**asked, **stored})
        except openai.BadRequestError as error:
            assert next(iter(stored)) in str(error), error
        else:
            raise AssertionError(f"not refused: {stored}")
    tried("what is not offered of responses")
SCHEMAS = [
    {"type": "object", "properties": {"city": {"type": "string", "minLength": 1, "maxLength": 8},
                                      "days": {"type": "array", "minItems": 1, "maxItems": 2, "items": {
                                          "enum": ["mon", "tue", 3, None]}},
                                      "high": {"type": "number", "minimum": -5, "maximum": 40},
                                      "low": {"type": "integer", "exclusiveMinimum": -9, "maximum": 12}},
     "required": ["city", "days", "high", "low"], "additionalProperties": False},
    {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 500}, {"type": "boolean"}, {"$ref": "#/$defs/pair"}],
     "$defs": {"pair": {"type": "array", "prefixItems": [{"type": "null"}, {"type": "boolean"}], "items": False,
                        "minItems": 2}}},
    {"type": "object", "properties": {"when": {"type": "string", "format": "date"},
                                      "code": {"type": "string", "pattern": "^[A-Z]{2}[0-9]{1,3}$"},
                                      "deeper": {"type": "object", "properties": {"a": {"const": "x"}},
                                                 "required": ["a"]}}, "required": ["when", "code"]},
    {"type": ["string", "null"], "maxLength": 3},
    *({"type": "string", "format": name} for name in ("date", "time", "date-time", "duration", "email", "hostname",
                                                       "ipv4", "ipv6", "uri", "uuid")),
    {"type": "integer", "multipleOf": 7, "minimum": 0, "maximum": 70},
    {"oneOf": [{"type": "boolean"}, {"type": "integer"}]}]


def structured(client, model):
    """Every answer of a model at random satisfies its schema, by a validator that nobody here wrote."""
    messages = [{"role": "user", "content": "now"}]
    for schema in SCHEMAS:
        validator = jsonschema_rs.validator_for(schema, validate_formats=True)
        form = {"type": "json_schema", "json_schema": {"name": "it", "strict": True, "schema": schema}}
        for seed in range(12):
            answer = client.chat.completions.create(model=model, messages=messages, seed=seed, response_format=form)
            assert answer.choices[0].finish_reason == "stop", (schema, answer.choices[0])
            validator.validate(json.loads(answer.choices[0].message.content))
    tried("structured output, every answer valid")

    with client.chat.completions.stream(model=model, messages=messages, response_format=form, seed=1) as events:
        streamed = events.get_final_completion().choices[0].message.content
    validator.validate(json.loads(streamed))
    for name, value in {"regex": "[0-9]{4}-[ab]", "choice": ["left", "right"], "json": SCHEMAS[0]}.items():
        answer = client.completions.create(model=model, prompt="x", max_tokens=200, seed=3,
                                           extra_body={"structured_outputs": {name: value}}).choices[0]
        assert answer.finish_reason == "stop", (name, answer)
        if name == "regex":
            assert re.fullmatch(value, answer.text), answer
        elif name == "choice":
            assert answer.text in value, answer
        else:
            jsonschema_rs.validate(value, json.loads(answer.text))
    tried("structured_outputs")

    form = {"type": "json_schema", "name": "it", "strict": True, "schema": SCHEMAS[0]}
    for seed in range(4):
        answer = client.responses.create(model=model, input="now", text={"format": form}, extra_body={"seed": seed})
        jsonschema_rs.validate(SCHEMAS[0], json.loads(answer.output_text))
    tried("structured response")

    tools = [{"type": "function", "function": {"name": name, "parameters": SCHEMAS[i]}} for name, i in
             (("weather", 0), ("other", 2))]
    for seed in range(6):
        for choice, names in (({"type": "function", "function": {"name": "other"}}, ["other"]),
                              ("required", ["weather", "other"])):
            answer = client.chat.completions.create(model=model, messages=messages, tools=tools, tool_choice=choice,
                                                    parallel_tool_calls=False, seed=seed).choices[0]
            (call,) = answer.message.tool_calls
            assert call.function.name in names and answer.finish_reason == "tool_calls"
            jsonschema_rs.validate(SCHEMAS[0 if call.function.name == "weather" else 2],
                                   json.loads(call.function.arguments))
    tried("forced tool calls, arguments valid")


def refusals(client, url, model):
    def refused(kind, call, word):
        try:
            call()
        except kind as error:
            assert word in str(error), f"'{word}' is not in {error}"
        else:
            raise AssertionError(f"not refused: {word}")

    refused(openai.BadRequestError, lambda: client.completions.create(model=model, prompt="x", temperature=-1),
            "temperature = -1")
    refused(openai.BadRequestError, lambda: client.completions.create(model=model, prompt="x", max_tokens=10**6),
            "max_tokens")
    refused(openai.NotFoundError, lambda: client.completions.create(model="other", prompt="x"), model)
    refused(openai.NotFoundError, lambda: client.models.retrieve("other"), model)
    refused(openai.BadRequestError, lambda: client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "x"}], response_format={"type": "xml"}), "response_format")
    refused(openai.APIStatusError, lambda: client.embeddings.create(model=model, input="x"), "embeddings")
    stranger = openai.OpenAI(base_url=url + "/v1", api_key="wrong", max_retries=0)
    refused(openai.AuthenticationError, stranger.models.list, "key")
    tried("refusals as the client's own errors")


def main():
    url, key, model = sys.argv[1:4]
    client = openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0, timeout=60)
    assert [m.id for m in client.models.list()] == [model]
    assert client.models.retrieve(model).max_model_len > 0
    tried("models")
    completions(client, model)
    chats(client, model)
    responses(client, model)
    if "--structured" in sys.argv:
        structured(client, model)
    refusals(client, url, model)
    print(f"all {len(TRIED)} fine")


main()
