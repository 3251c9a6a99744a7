"""How the models of hf_grid.py are stored: as transformers saves them, or rewritten into the released FP8 layout, in
one file or shards, with the old or the new spelling of config.json."""
import json
import os

import torch
from safetensors.torch import load_file, save_file

KEPT_HIGH = ("norm", "mlp.gate.weight", "e_score_correction_bias", "embed_tokens", "lm_head")


def quantise(w, ue8m0):
    """The released rule: blocks of 128 x 128, scale = max(amax, 1e-4) / 448, rounded up to a power of two for ue8m0."""
    rows, cols = -(-w.shape[0] // 128), -(-w.shape[1] // 128)
    codes, scales = torch.empty(w.shape, dtype=torch.float8_e4m3fn), torch.empty(rows, cols)
    for i in range(rows):
        for j in range(cols):
            block = w[i * 128:(i + 1) * 128, j * 128:(j + 1) * 128]
            scale = block.abs().max().clamp(min=1e-4) / 448
            if ue8m0:
                scale = torch.exp2(torch.ceil(torch.log2(scale)))
            scales[i, j] = scale
            codes[i * 128:(i + 1) * 128, j * 128:(j + 1) * 128] = (block / scale).to(torch.float8_e4m3fn)
    return codes, scales


def dequantise(codes, scales, fault=None):
    if fault == "transposed":
        scales = scales.T
    full = scales.repeat_interleave(128, 0).repeat_interleave(128, 1)
    if fault == "transposed":
        full = torch.nn.functional.pad(full, (0, 10 ** 4, 0, 10 ** 4), value=float(scales.mean()))
    full = full[:codes.shape[0], :codes.shape[1]]
    return codes.float() / full if fault == "divided" else codes.float() * full


def rewrite_fp8(directory, ue8m0):
    """Turns a saved FP32 directory into the released FP8 layout; returns the exact values it now stands for."""
    tensors = {}
    files = [f for f in sorted(os.listdir(directory)) if f.endswith(".safetensors")]
    for f in files:
        tensors.update(load_file(f"{directory}/{f}"))
    stored, values = {}, {}
    for name, w in tensors.items():
        if w.numel() == 0 or any(k in name for k in KEPT_HIGH):
            stored[name] = w if "e_score" in name else w.bfloat16()
            values[name] = stored[name].float()
        else:
            codes, scales = quantise(w.float(), ue8m0)
            stored[name], values[name] = codes, dequantise(codes, scales)
            stored[name.replace(".weight", ".weight_scale_inv")] = scales.to(torch.float8_e8m0fnu) if ue8m0 else scales
    for f in files + ["model.safetensors.index.json"]:
        if os.path.exists(f"{directory}/{f}"):
            os.remove(f"{directory}/{f}")
    if len(files) > 1:  # as many shards as before, names dealt round robin
        places = {n: f"model-{i % 3 + 1:05d}-of-00003.safetensors" for i, n in enumerate(stored)}
        for f in set(places.values()):
            save_file({n: t.contiguous() for n, t in stored.items() if places[n] == f}, f"{directory}/{f}")
        with open(f"{directory}/model.safetensors.index.json", "w") as out:
            json.dump({"metadata": {"total_size": sum(t.nbytes for t in stored.values())}, "weight_map": places}, out)
    else:
        save_file({n: t.contiguous() for n, t in stored.items()}, f"{directory}/model.safetensors")
    edit_config(directory, lambda c: c.update(quantization_config=dict(
        quant_method="fp8", fmt="e4m3", activation_scheme="dynamic", weight_block_size=[128, 128],
        **(dict(scale_fmt="ue8m0") if ue8m0 else {}))))
    return values


def edit_config(directory, change):
    with open(f"{directory}/config.json") as f:
        config = json.load(f)
    change(config)
    with open(f"{directory}/config.json", "w") as f:
        json.dump(config, f, indent=2)


def old_spelling(config):
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope["rope_theta"]
    if "partial_rotary_factor" in rope:
        config["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    config["rope_scaling"] = None
    if rope["rope_type"] == "yarn":
        config["rope_scaling"] = {"type": "yarn",
                                  **{k: v for k, v in rope.items() if k not in ("rope_theta", "rope_type")}}
    config["torch_dtype"] = config.pop("dtype", "float32")


def kimi_spelling(config):
    config["model_type"] = "kimi_k2"
    config["architectures"] = ["DeepseekV3ForCausalLM"]


def to_bf16(theirs):
    """Parameters only: the selection bias and the rotary frequencies stay FP32, as when transformers loads BF16."""
    kept = {n: b.clone() for n, b in theirs.named_buffers()}
    theirs.bfloat16()
    for name, buffer in theirs.named_buffers():
        buffer.data = kept[name]


def save_model(directory, theirs, options):
    """As transformers saves; returns nothing, the weights of `theirs` become what the files stand for."""
    if options["storage"] == "bf16":
        to_bf16(theirs)
    shard = "30KB" if options["files"] == "sharded" else "1GB"
    theirs.save_pretrained(directory, max_shard_size=shard)
    theirs.float()
    if options["storage"].startswith("fp8"):
        values = rewrite_fp8(directory, options["storage"] == "fp8_ue8m0")
        put_back(theirs, values)
    if options["spelling"] == "old":
        edit_config(directory, old_spelling)
    if options["family"] == "kimi" and options["spelling"] == "old":
        edit_config(directory, kimi_spelling)


def per_expert(name, tensor):
    """One stacked tensor of theirs -> the names and slices under which files have it."""
    if name.endswith("mlp.experts.gate_up_proj"):
        width = tensor.shape[1] // 2
        for e in range(tensor.shape[0]):
            yield name.replace("gate_up_proj", f"{e}.gate_proj.weight"), tensor[e, :width]
            yield name.replace("gate_up_proj", f"{e}.up_proj.weight"), tensor[e, width:]
    elif name.endswith("mlp.experts.down_proj"):
        for e in range(tensor.shape[0]):
            yield name.replace("down_proj", f"{e}.down_proj.weight"), tensor[e]
    else:
        yield name, tensor


def put_back(theirs, values):
    with torch.no_grad():
        for name, tensor in list(theirs.named_parameters()) + list(theirs.named_buffers()):
            for stored, piece in per_expert(name, tensor):
                if stored in values:
                    piece.copy_(values[stored])
