"""What hf_grid_peer_test.cpp exported again, DIR/case_NNN/back, in the hands of transformers: loaded without a word
about missing, surplus or misshapen tensors, it must give the log-probabilities of the model that transformers made.

usage: hf_back.py DIR. Prints the worst difference; exits 1 where one exceeds 2e-5.
"""
import pathlib
import sys

import torch
import transformers
from safetensors.torch import load_file

from hf_measure import log_probs

BOUND = 2e-5


def main():
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    worst, where, classes = 0.0, "", {}
    for case in sorted(pathlib.Path(sys.argv[1]).glob("case_*")):
        model, said = transformers.AutoModelForCausalLM.from_pretrained(case / "back", output_loading_info=True,
                                                                        dtype=torch.float32)
        empty = {n for n, p in model.state_dict().items() if p.numel() == 0}  # shared experts of width 0
        wrong = {key: found for key, found in said.items() if set(map(str, found)) - empty}
        if wrong:
            sys.exit(f"{case}: {wrong}")
        model.config._experts_implementation = "eager"
        expected = load_file(case / "expected.safetensors.data")
        with torch.no_grad():
            difference = float((log_probs(model, expected["tokens"].long()) - expected["log_probs"]).abs().max())
        classes[type(model).__name__] = classes.get(type(model).__name__, 0) + 1
        if difference >= worst:
            worst, where = difference, case.name
    print(f"WORST\tback in transformers\t{worst:.1e} of {BOUND:.0e}\t{where}, {classes}")
    sys.exit(worst > BOUND or len(classes) != 2)


if __name__ == "__main__":
    main()
