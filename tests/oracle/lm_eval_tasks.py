"""`hadal eval` against PyPI's lm-eval on the same task files: prompts, scores, extractions and metrics of every item.

usage: lm_eval_tasks.py HADAL MODEL [GSM8K_FOLDER]: the binary, and a Hugging Face directory. Nothing is fetched.
lm-eval asks the model twice: through transformers (log-likelihoods within 2e-4) and through `hadal serve` (the same
bits). With a folder that holds gsm8k_train.jsonl and gsm8k_test.jsonl, 200 of its items are asked too, with 5 examples.
Prints "N tasks, N items, N scores the same"; a difference is exit 1.
"""

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile

FOLDER = tempfile.TemporaryDirectory(prefix="hadal_lm_eval_")
for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_EVALUATE_OFFLINE",
             "DISABLE_MULTIPROC"):
    os.environ[name] = "1"
os.environ["HF_HOME"] = FOLDER.name
os.environ["OPENAI_API_KEY"] = "none"

import lm_eval  # noqa: E402: after what it reads
from lm_eval.models.huggingface import HFLM  # noqa: E402
from lm_eval.models.openai_completions import LocalCompletionsAPI  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

WORDS = ["the sea", "a fish", "cold", "wind blows", "où est", "le café", "one two", "Über", "中文", "deep", "17", "x y z"]


def docs(n, start):
    """Items with every kind of field that the tasks use."""
    for i in range(start, start + n):
        pick = lambda k: WORDS[(i * 5 + k * 7) % len(WORDS)]  # noqa: E731
        choices = [pick(1), pick(2) + " " + pick(4), pick(3) + "!", pick(5) * 2][: 2 + i % 3]
        yield {"id": i, "question": f"{pick(0)} is {pick(6)}" + (" " if i % 4 == 0 else ""), "choices": choices,
               "gold": i % len(choices), "answer": choices[i % len(choices)], "all": [0, len(choices) - 1],
               "answers": [pick(8), pick(9)], "yes": i % 2 == 0, "number": i * 3, "rate": i / 4,
               "passage": " ".join(pick(k) for k in range(6 + 14 * (i % 5 == 0))) + ("\n" if i % 3 else ""),
               "long": " ".join(pick(k * k) for k in range(40 + 60 * (i % 6)))}


METRICS = "metric_list: [{metric: acc}, {metric: acc_norm}, {metric: acc_bytes}, {metric: acc_mutual_info}]"
SHOTS = ["num_fewshot: 3", "fewshot_split: train", "fewshot_config: {sampler: first_n}"]
TASKS = {
    "choices": ["output_type: multiple_choice", "doc_to_text: '{{question}}?'", "doc_to_choice: choices",
                "doc_to_target: gold", METRICS],
    "choices_by_text": ["output_type: multiple_choice", "doc_to_text: question", "doc_to_choice: '{{choices}}'",
                        "doc_to_target: answer", "target_delimiter: ''",
                        "metric_list: [{metric: acc}, {metric: exact_match}]"],
    "choices_of_examples": ["output_type: multiple_choice", "doc_to_text: 'Q: {{question}}\\nA:'",
                            "doc_to_choice: choices", "doc_to_target: '{{gold}}'", "description: 'About {{id}}.\\n\\n'",
                            *SHOTS],
    "choices_of_many": ["output_type: multiple_choice", "doc_to_text: '{{passage}}'", "doc_to_choice: choices",
                        "doc_to_target: all",
                        "metric_list: [{metric: acc}, {metric: acc_norm}, {metric: exact_match}]"],
    "choices_in_contexts": ["output_type: multiple_choice", "doc_to_text: gold", "doc_to_choice: choices",
                            "doc_to_target: 'and {{passage}}'", "metric_list: [{metric: acc}]", *SHOTS[:1],
                            "fewshot_split: train", "fewshot_config: {sampler: first_n}"],
    "choices_named": ["output_type: multiple_choice", "doc_to_text: |", "  {% if yes -%}", "  {{ question | upper }}",
                      "  {%- else %}", "  no {{ rate }} {{ number }} {{ choices | length }}", "  {% endif %}",
                      "doc_to_choice: {a: 'yes', b: 'no'}", "doc_to_target: '{{ 0 if yes else 1 }}'",
                      "gen_prefix: 'So:'", *SHOTS],
    "words": ["output_type: loglikelihood", "doc_to_text: '{{question}}'", "doc_to_target: ' {{answer}}'",
              "metric_list: [{metric: perplexity}, {metric: acc}]"],
    "rolling": ["output_type: loglikelihood_rolling", "doc_to_text: ''", "doc_to_target: passage"],
    "texts": ["output_type: generate_until", "doc_to_text: '{{question}}'", "doc_to_target: answer",
              "generation_kwargs: {until: ['e', ' a', 'never'], max_gen_toks: 24, temperature: 0, do_sample: false}",
              "metric_list: [{metric: exact_match, ignore_case: true, ignore_punctuation: true, aggregation: mean}]"],
    "texts_filtered": ["output_type: generate_until", "doc_to_text: 'Q: {{question}}\\nA:'",
                       "doc_to_target: '{{answer}} #### {{number}}'",
                       "generation_kwargs: {until: ['Q:', '\\n\\n'], max_gen_toks: 32, do_sample: false}",
                       "filter_list:",
                       "  - {name: first, filter: [{function: regex, regex_pattern: '([a-z]+) ?([0-9]*)'}, "
                       "{function: take_first}]}",
                       "  - {name: last, filter: [{function: regex, regex_pattern: '(-?[$0-9.,]{2,})|(-?[0-9a-f]+)', "
                       "group_select: -1, fallback: none}, {function: uppercase}, {function: take_first}]}",
                       "metric_list: [{metric: exact_match, regexes_to_ignore: [',', '\\$', '(?s).*#### ', '\\.$'], "
                       "ignore_numbers: false}]", *SHOTS],
    "texts_of_choices": ["output_type: generate_until", "doc_to_text: question", "doc_to_choice: choices",
                         "doc_to_target: gold", "generation_kwargs: {until: ['.'], max_gen_toks: 6}",
                         "filter_list: [{name: short, filter: [{function: remove_whitespace}, {function: lowercase}, "
                         "{function: map, mapping_dict: {'s': x, 'e': y}, default_value: z}, "
                         "{function: take_first}]}]"],
    "texts_of_many": ["output_type: generate_until", "doc_to_text: '{{passage}}'", "doc_to_target: answers",
                      "generation_kwargs: {max_gen_toks: 9}"],
    "examples_of_items": ["output_type: multiple_choice", "doc_to_text: '{{question}}'", "doc_to_choice: choices",
                          "doc_to_target: gold", "num_fewshot: 2", "fewshot_split: test", "fewshot_delimiter: '\\n'",
                          "fewshot_config: {sampler: first_n, doc_to_text: '{{question}} ({{id}})', "
                          "target_delimiter: ' = '}"],
    "examples_in_the_file": ["output_type: loglikelihood", "doc_to_text: '{{question}}'",
                             "doc_to_target: ' {{answer}}'", "num_fewshot: 1",
                             "fewshot_config: {sampler: first_n, samples: [{question: who, "
                             "answer: me}]}"],
}
# Longer than the model's positions: lm-eval's client of servers leaves one of them unused, transformers does not.
LONG = {
    "long_contexts": ["output_type: loglikelihood", "doc_to_text: '{{long}} {{long}} {{question}}'",
                      "doc_to_target: ' {{answer}}'"],
    "long_choices": ["output_type: multiple_choice", "doc_to_text: '{{long}} {{long}} {{long}}'",
                     "doc_to_choice: choices", "doc_to_target: gold"],
    "long_texts": ["output_type: generate_until", "doc_to_text: '{{long}} {{long}}'", "doc_to_target: answer",
                   "generation_kwargs: {until: ['a'], max_gen_toks: 8}"],
    "long_rolling": ["output_type: loglikelihood_rolling", "doc_to_text: ''", "doc_to_target: '{{long}} {{long}}'"],
}
GSM8K = ["dataset_path: json",
         "dataset_kwargs: {data_files: {train: gsm8k_train.jsonl, test: gsm8k_test.jsonl}}",
         "training_split: train", "fewshot_split: train", "test_split: test", "output_type: generate_until",
         "doc_to_text: 'Question: {{question}}\\nAnswer:'", "doc_to_target: '{{answer}}'", "num_fewshot: 5",
         "fewshot_config: {sampler: first_n}",
         "generation_kwargs: {until: ['Question:', '</s>', '<|im_end|>'], do_sample: false, max_gen_toks: 24}",
         "filter_list:",
         "  - {name: strict-match, filter: [{function: regex, regex_pattern: '#### (\\-?[0-9\\.\\,]+)'}, "
         "{function: take_first}]}",
         "  - {name: flexible-extract, filter: [{function: regex, group_select: -1, "
         "regex_pattern: '(-?[$0-9.,]{2,})|(-?[0-9]+)'}, {function: take_first}]}",
         "metric_list: [{metric: exact_match, ignore_case: true, ignore_punctuation: false, "
         "regexes_to_ignore: [',', '\\$', '(?s).*#### ', '\\.$']}]"]


def write(name, text):
    with open(os.path.join(FOLDER.name, name), "w", encoding="utf-8") as file:
        file.write(text)


def write_tasks(gsm8k):
    for split, n, start in (("test", 12, 0), ("train", 4, 100)):
        write(split + ".jsonl", "".join(json.dumps(doc, ensure_ascii=False) + "\n" for doc in docs(n, start)))
    files = {split: os.path.join(FOLDER.name, split + ".jsonl") for split in ("test", "train")}
    common = ["dataset_path: json", "dataset_kwargs: " + json.dumps({"data_files": files}), "test_split: test"]
    for name, lines in (TASKS | LONG).items():
        write(name + ".yaml", "\n".join([f"task: {name}", *common, *lines]) + "\n")
    if gsm8k:
        for split in ("train", "test"):
            shutil.copy(os.path.join(gsm8k, f"gsm8k_{split}.jsonl"), FOLDER.name)
        lines = [line.replace("gsm8k_t", os.path.join(FOLDER.name, "gsm8k_t")) for line in GSM8K]
        write("gsm8k.yaml", "\n".join(["task: gsm8k", *lines]) + "\n")


def ours(hadal, model, names, limit, *options):
    out = os.path.join(FOLDER.name, "ours")
    tasks = ",".join(os.path.join(FOLDER.name, name + ".yaml") for name in names)
    subprocess.run([hadal, "eval", "--model", model, "--tasks", tasks, "--to", out, "--quiet", "--limit", str(limit),
                    *options], check=True, stdout=subprocess.DEVNULL)
    with open(os.path.join(out, "results.json"), encoding="utf-8") as file:
        results = json.load(file)["results"]
    samples = {}
    for name in names:
        with open(os.path.join(out, f"samples_{name}.jsonl"), encoding="utf-8") as file:
            samples[name] = [json.loads(line) for line in file]
    return results, samples


def theirs(client, names, limit, **options):
    found = lm_eval.simple_evaluate(model=client, tasks=names, bootstrap_iters=1000, limit=limit or None, **options,
                                    task_manager=TaskManager(include_path=FOLDER.name, include_defaults=False))
    return found["results"], found["samples"]


class Comparison:
    """tolerance 0: the same bits. render: turns of a chat as lm-eval's client writes them."""

    def __init__(self, tolerance, labels, marks, render=None):
        self.tolerance, self.labels, self.marks, self.render = tolerance, labels, marks, render
        self.items = self.scores = 0

    def near(self, a, b, where):
        assert abs(a - b) <= self.tolerance * max(1, abs(b)), f"{self.labels}: {where}: ours {a!r}, theirs {b!r}"
        self.scores += 1

    def sample(self, name, a, b):
        where = f"{name}, item {b['doc_id']}, filter {b['filter']}"
        assert a["doc_id"] == b["doc_id"] and a["filter"] == b["filter"], where
        assert a["target"] == str(b["target"]), (where, a["target"], b["target"])
        assert len(a["arguments"]) == len(b["arguments"]), where
        for i, argument in enumerate(b["arguments"]):
            mine = a["arguments"][f"gen_args_{i}"]
            if isinstance(mine["arg_0"], list):
                mine["arg_0"] = self.render(mine["arg_0"])
            assert mine["arg_0"] == argument[0], (where, mine["arg_0"], argument[0])
            if len(argument) > 1 and isinstance(argument[1], str):
                assert mine["arg_1"] == argument[1], (where, mine["arg_1"], argument[1])
            reply, answer = a["resps"][i][0], b["resps"][i][0]
            if isinstance(answer, str) and any(mark in answer for mark in self.marks):
                for mark in self.marks:  # the server shows control tokens that are written, transformers does not
                    answer = answer.replace(mark, "")
                assert reply == answer, (self.labels, where, reply, answer)
                self.items += 1
                return
            if isinstance(answer, str):
                assert reply == answer, (self.labels, where, reply, answer)
                assert a["filtered_resps"] == b["filtered_resps"], (where, a["filtered_resps"], b["filtered_resps"])
                self.scores += 1
            elif isinstance(answer, tuple | list):
                self.near(reply[0], answer[0], where)
                assert reply[1] == answer[1], f"{where}: greedy {reply[1]}, theirs {answer[1]}"
            else:
                self.near(reply, answer, where)
        for metric in b["metrics"]:
            mine, value = a[metric], b[metric]
            if isinstance(value, tuple | list):
                self.near(mine[0], value[0], where)
                assert mine[1] == value[1], (where, metric, mine, value)
            elif metric == "perplexity":
                self.near(mine, value, where)
            else:
                assert mine == value, (where, metric, mine, value)
        self.items += 1

    def task(self, name, results, samples, their_results, their_samples):
        order = lambda line: (line["doc_id"], line["filter"])  # noqa: E731
        for a, b in zip(sorted(samples, key=order), sorted(their_samples, key=order), strict=True):
            self.sample(name, a, b)
        for key, value in their_results.items():
            metric = key.split(",")[0]
            if "," not in key or value == "N/A" or metric.endswith("_stderr") and "perplexity" in metric:
                continue  # names, and errors that lm-eval draws or has not
            tolerance = max(self.tolerance * 10, 1e-12)
            near = math.isclose(results[key], value, rel_tol=tolerance, abs_tol=tolerance)
            assert near, (name, key, results[key], value)


def compare_chats(hadal, model, client):
    """Through the chat template: examples as turns, as is lm-eval's default, and in the question's message."""
    def render(turns):
        return client.apply_chat_template(turns, add_generation_prompt=turns[-1]["role"] != "assistant")

    items = scores = 0
    for turns in ("on", "off"):
        results, samples = ours(hadal, model, list(TASKS), 0, "--chat", "on", "--example-turns", turns)
        their_results, their_samples = theirs(client, list(TASKS), 0, apply_chat_template=True,
                                              fewshot_as_multiturn=turns == "on")
        compared = Comparison(2e-4, f"chat, example turns {turns}", [], render)
        for name in TASKS:
            compared.task(name, results[name], samples[name], their_results[name], their_samples[name])
        items, scores = items + compared.items, scores + compared.scores
    return f"in chats {items} items, {scores} scores the same"


def main():
    hadal, model, *gsm8k = sys.argv[1:]
    write_tasks(gsm8k[0] if gsm8k else None)
    runs = [(list(TASKS), 0), (list(LONG), 0)] + ([(["gsm8k"], 200)] if gsm8k else [])
    server = subprocess.Popen([hadal, "serve", "--model", model, "--port", "0", "--name", "served"],
                              stdout=subprocess.PIPE, text=True)
    try:
        address = next(word for word in server.stdout.readline().split() if word.startswith("http://"))
        clients = [(HFLM(pretrained=model, dtype="float32", device="cpu", batch_size=4), 2e-4, "transformers")]
        length = clients[0][0].max_length
        # Its own choice of a token before empty contexts passes over an id that is 0.
        prefix = clients[0][0].prefix_token_id
        clients.append((LocalCompletionsAPI(base_url=address + "/v1/completions", model="served", max_length=length,
                                            num_concurrent=4, custom_prefix_token_id=prefix), 0, "hadal serve"))
        with open(os.path.join(model, "tokenizer.json"), encoding="utf-8") as file:
            marks = [token["content"] for token in json.load(file)["added_tokens"] if token["special"]]
        n_tasks = items = scores = 0
        for names, limit in runs:
            results, samples = ours(hadal, model, names, limit)
            for client, tolerance, label in clients:
                if label == "hadal serve" and names != list(TASKS):
                    continue
                their_results, their_samples = theirs(client, names, limit)
                compared = Comparison(tolerance, label, marks if label == "hadal serve" else [])
                for name in names:
                    compared.task(name, results[name], samples[name], their_results[name], their_samples[name])
                items, scores = items + compared.items, scores + compared.scores
            n_tasks += len(names)
        print(f"{n_tasks} tasks, {items} items, {scores} scores the same;",
              compare_chats(hadal, model, clients[0][0]))
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
