"""The rival of a training step: Hugging Face transformers' DeepseekV3 on the CPU, from given weights on given tokens.

Measures what `hadal` measures: forward, mean cross-entropy of the next token, backward, clipping to norm 1, AdamW (0.9,
0.95, decay 0.1 except on norms), no MTP. Both programs start from the same safetensors (transformers' tensor names,
experts one by one) and read the same batches: tokens [steps, batch, length + 1] int32, inputs [:, :-1], targets [:,
1:].

The model's shape is read from the configuration that hadal wrote beside the weights (config.json in transformers'
format). Reads numbers of steps from standard input, does them and answers each with one JSON line: row name, tokens per
second and loss of every step, resident bytes before the weights were read and at the peak so far. The first step
contains torch.compile's work.

usage: echo 10 | train.py CONFIG_JSON WEIGHTS TOKENS [--dtype fp32|bf16] [--experts eager|grouped_mm|batched_mm]
       [--compile]
                          [--threads N] [--lr X]
"""
import argparse
import json
import sys
import time


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config.json in transformers' format")
    parser.add_argument("weights", help="safetensors under transformers' names")
    parser.add_argument("tokens", help="safetensors with 'tokens' [steps, batch, length+1], or such an array as .npy")
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32", help="bf16 is autocast over FP32 weights")
    parser.add_argument("--experts", choices=["eager", "grouped_mm", "batched_mm"], default="eager")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--lr", type=float, default=1e-3)
    return parser.parse_args()


def status_bytes(field):
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def reset_peak():
    """Lets VmHWM start again from now, where the kernel permits it."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        pass


args = parse()
import torch  # noqa: E402  (after the arguments, so that --help is instant)
from safetensors import safe_open  # noqa: E402
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM  # noqa: E402


def read_tokens(path):
    if path.endswith(".npy"):
        import numpy
        return torch.from_numpy(numpy.load(path).astype("int64"))
    with safe_open(path, "pt") as file:
        return file.get_tensor("tokens").long()


def build_model(path):
    with open(path, encoding="utf-8") as file:
        values = json.load(file)
    for key in ("architectures", "model_type", "auto_map", "quantization_config", "transformers_version",
                "torch_dtype"):
        values.pop(key, None)
    values.update(num_nextn_predict_layers=0, use_cache=False, bos_token_id=None, eos_token_id=None, pad_token_id=None)
    config = DeepseekV3Config(**values)
    config._experts_implementation = args.experts
    return DeepseekV3ForCausalLM(config)


def load_weights(model, path):
    """Copies every tensor; transformers stacks the experts, [gate; up] in one tensor."""
    state = dict(model.named_parameters()) | dict(model.named_buffers())
    left = set(dict(model.named_parameters()))
    width = model.config.moe_intermediate_size
    with safe_open(path, "pt") as file, torch.no_grad():
        for name in file.keys():
            value = file.get_tensor(name)
            if ".mlp.experts." not in name:
                state[name].copy_(value)
                left.discard(name)
                continue
            prefix, expert, projection = name.rsplit(".", 3)[0:3]
            if projection == "down_proj":
                state[prefix + ".down_proj"][int(expert)].copy_(value)
            else:
                begin = 0 if projection == "gate_proj" else width
                state[prefix + ".gate_up_proj"][int(expert), begin:begin + width].copy_(value)
            left -= {prefix + ".down_proj", prefix + ".gate_up_proj"}
    if left:
        sys.exit(f"{path} lacks {sorted(left)[:3]} and {max(len(left) - 3, 0)} more")


def make_optimizer(model):
    norms = [p for p in model.parameters() if p.dim() == 1]
    others = [p for p in model.parameters() if p.dim() > 1]
    groups = [dict(params=others, weight_decay=0.1), dict(params=norms, weight_decay=0.0)]
    return torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.95), eps=1e-8, fused=True)


def step(model, run, optimizer, batch):
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.dtype == "bf16"):
        logits = run(input_ids=batch[:, :-1], use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


def main():
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    tokens = read_tokens(args.tokens)
    baseline = status_bytes("VmRSS")  # interpreter, torch, transformers and the tokens: everything but the model
    reset_peak()
    model = build_model(args.config)
    load_weights(model, args.weights)
    model.train()
    optimizer = make_optimizer(model)
    run = torch.compile(model) if args.compile else model
    row = f"transformers {args.dtype} {args.experts}" + (" compiled" if args.compile else "")
    done = 0
    for line in sys.stdin:
        rates, losses = [], []
        for _ in range(int(line)):
            begin = time.perf_counter()
            batch = tokens[done % len(tokens)]
            losses.append(step(model, run, optimizer, batch))
            rates.append(batch[:, 1:].numel() / (time.perf_counter() - begin))
            done += 1
        peak = status_bytes("VmHWM")
        print(json.dumps(dict(row=row, tokens_per_second=rates, loss=losses, baseline_bytes=baseline, peak_bytes=peak,
                              peak_above_baseline_bytes=peak - baseline, threads=args.threads,
                              torch=torch.__version__)), flush=True)


if __name__ == "__main__":
    main()
