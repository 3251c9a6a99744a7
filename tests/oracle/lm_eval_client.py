"""PyPI's `lm-eval` against `hadal serve`: log-likelihood and generation tasks on local data by its `local-completions`.

usage: lm_eval_client.py HADAL MODEL: the binary, and a directory of a model with a tokenizer. Nothing is fetched.
Demands of every sample that what lm-eval made of the server's JSON is, to the bit, what `hadal score` says of those
ids, and that texts are those of `hadal generate`. Prints "N log-likelihoods, N texts the same"; a difference is exit 1.
"""

import json
import os
import subprocess
import sys
import tempfile

FOLDER = tempfile.TemporaryDirectory(prefix="hadal_lm_eval_")
for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_EVALUATE_OFFLINE"):
    os.environ[name] = "1"
os.environ["HF_HOME"] = FOLDER.name
os.environ["OPENAI_API_KEY"] = "none"

import lm_eval  # noqa: E402: after what it reads
from lm_eval.models.openai_completions import LocalCompletionsAPI  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

QUESTIONS = [{"text": "The sea is", "choices": [" wide", " a sea of the sea", " 17"], "gold": 0},
             {"text": "où est le", "choices": [" café ?", " cæur"], "gold": 1},
             {"text": "one two three ", "choices": ["four", "fish"], "gold": 0},
             {"text": "x", "choices": ["y" * 40, "\n\nz"], "gold": 1}]
TASKS = {
    "choices": ["output_type: multiple_choice", "doc_to_text: '{{text}}'", "doc_to_choice: '{{choices}}'",
                "doc_to_target: gold", "target_delimiter: ''", "metric_list: [{metric: acc}]"],
    "rolling": ["output_type: loglikelihood_rolling", "doc_to_text: ''", "doc_to_target: '{{text}} of {{choices[0]}}'",
                "metric_list: [{metric: bits_per_byte}]"],
    "texts": ["output_type: generate_until", "doc_to_text: '{{text}}'", "doc_to_target: '{{choices[0]}}'",
              "generation_kwargs: {until: ['e', 'never'], max_gen_toks: 24, temperature: 0}",
              "metric_list: [{metric: exact_match}]"],
}


def write_tasks():
    data = os.path.join(FOLDER.name, "questions.jsonl")
    with open(data, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(question) + "\n" for question in QUESTIONS)
    for name, lines in TASKS.items():
        common = [f"task: {name}", "dataset_path: json", f"dataset_kwargs: {{data_files: {{test: {data}}}}}",
                  "test_split: test", "num_fewshot: 0", *lines]
        with open(os.path.join(FOLDER.name, name + ".yaml"), "w", encoding="utf-8") as file:
            file.write("\n".join(common) + "\n")


def run(hadal, *arguments, given=None):
    command = [hadal, *arguments, "--quiet"]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=True).stdout


def scores(hadal, model, lists):
    """Of each list of ids: the log-probabilities of all but the first, as `hadal score` prints them."""
    lines = "".join(json.dumps({"tokens": ids}) + "\n" for ids in lists)
    return [json.loads(line)["logprobs"] for line in run(hadal, "score", "--model", model, given=lines).splitlines()]


def evaluate(address, **more):
    client = LocalCompletionsAPI(base_url=address + "/v1/completions", model="served", max_length=256, **more)
    found = lm_eval.simple_evaluate(model=client, tasks=list(TASKS), bootstrap_iters=0,
                                    task_manager=TaskManager(include_path=FOLDER.name, include_defaults=False))
    return client, found["samples"]


def likelihoods(client, samples):
    """(ids, how many of them are the context, what lm-eval has) of every log-likelihood."""
    for sample in samples["choices"]:
        for argument, (answer, ) in zip(sample["arguments"], sample["resps"]):
            context, continuation = client._encode_pair(*argument)
            yield context + continuation, len(context), answer[0]
    for sample in samples["rolling"]:
        (text, ), = sample["arguments"]
        yield [client.prefix_token_id, *client.tok_encode(text)], 1, sample["resps"][0][0]


def compare(hadal, model, client, samples):
    asked = list(likelihoods(client, samples))
    for (ids, context, theirs), values in zip(asked, scores(hadal, model, [ids for ids, _, _ in asked]), strict=True):
        ours = sum(values[context - 1:])
        assert ours == theirs, f"{theirs!r} is not {ours!r}, of {ids} behind {context}"
    texts = set()
    for sample in samples["texts"]:
        (prompt, settings), = sample["arguments"]
        ids = ",".join(map(str, client.tok_encode(prompt)))
        made = json.loads(run(hadal, "generate", "--model", model, "--prompt-tokens", ids, "--max-tokens", "24",
                              "--temperature", "0", "--json", "--stop", settings["until"][0]))
        assert made["text"] == sample["resps"][0][0], (made["text"], sample["resps"])
        texts.add(made["text"])
    assert len(texts) > 1 and all(theirs < 0 for _, _, theirs in asked)
    return f"{len(asked)} log-likelihoods, {len(samples['texts'])} texts"


def main():
    hadal, model = sys.argv[1:]
    write_tasks()
    server = subprocess.Popen([hadal, "serve", "--model", model, "--port", "0", "--name", "served"],
                              stdout=subprocess.PIPE, text=True)
    try:
        address = next(word for word in server.stdout.readline().split() if word.startswith("http://"))
        for more in ({}, {"batch_size": 3}, {"num_concurrent": 4}):
            said = compare(hadal, model, *evaluate(address, **more))
        print(said, "the same, one by one, in batches and at once")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
