"""Loss and gradients of samples of dialogues by Hugging Face transformers, which is fed one sample at a time.

sft_gradients.py DIRECTORY SAMPLES_JSON: SAMPLES_JSON is a list of {"ids", "labels"} (-100: nothing is trained, at the
token's own index). Of a few random models of hf_grid.py, with a vocabulary that the ids fit into, writes
DIRECTORY/case_N/{model directory, expected.json, expected.safetensors.data}: the sum of the losses of all trained
tokens over their number, and its gradient of every parameter.
"""
import json
import os
import sys

import torch
import transformers
from safetensors.torch import save_file

import hf_grid
from hf_storage import per_expert

CASES = 3


def choices():
    """Of the grid: DeepSeek-V3 in FP32, with and without YaRN."""
    fitting = [c for c in hf_grid.sample(64) if hf_grid.FACTORS["family"][c["family"]]["family"] == "v3"]
    for c in fitting:
        c["storage"] = c["spelling"] = c["files"] = c["tie"] = 0
    yarn, plain = [c for c in fitting if c["yarn"]], [c for c in fitting if not c["yarn"]]
    return [plain[0], yarn[0], plain[1]][:CASES]


def main(directory, samples_file):
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with open(samples_file, encoding="utf-8") as file:
        samples = json.load(file)
    vocabulary = max(max(sample["ids"]) for sample in samples) + 1
    describe = hf_grid.describe

    def wider(choice):
        values, options = describe(choice)
        return values | {"vocab_size": vocabulary}, options
    hf_grid.describe = wider
    for number, choice in enumerate(choices()):
        place = f"{directory}/case_{number}"
        draws = (hf_grid.Draw(number, choice, attempt, place) for attempt in range(40))
        draw = next(d for d in draws if d.reason is None)
        theirs, trained, total = draw.theirs, 0, 0.0
        theirs.zero_grad()
        for sample in samples:
            ids, labels = torch.tensor([sample["ids"]]), torch.tensor([sample["labels"]])
            logits = theirs(input_ids=ids).logits[:, :-1].float()
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), reduction="sum")
            loss.backward()  # sums: divided below, once, by what all of them train
            total, trained = total + float(loss.detach()), trained + int((labels[:, 1:] >= 0).sum())
        tensors = {}
        for name, parameter in theirs.named_parameters():
            if parameter.numel() and parameter.grad is not None:
                for stored, piece in per_expert(name, parameter.grad / trained):
                    tensors["g." + stored] = piece.clone().contiguous()
        save_file(tensors, f"{place}/expected.safetensors.data")
        with open(f"{place}/expected.json", "w", encoding="utf-8") as file:
            json.dump({"loss": total / trained, "trained": trained, "summary": draw.summary()}, file)
        print(place, os.listdir(place), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
