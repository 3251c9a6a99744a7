"""What `hadal export` reads and writes, in the hands of others: PyTorch, safetensors, transformers, gguf.

usage: export_peer.py make DIR KIND DTYPE      a random model directory; KIND v3 lite odd even wide, DTYPE f32 bf16 ...
       export_peer.py same SOURCE OUT          every tensor of SOURCE stands in OUT, byte for byte, and nothing else
       export_peer.py cast SOURCE OUT DTYPE    OUT is SOURCE in bf16 or fp32 (FP8 sources dequantised)
       export_peer.py fp8 SOURCE OUT           OUT's codes and scales are those of the released rule
       export_peer.py gguf SOURCE FILE DTYPE [TOKENIZER_DIR]   metadata and every tensor of a GGUF file
       export_peer.py from_gguf SOURCE FILE DIR  SOURCE with the values that FILE holds, as DIR in F32
       export_peer.py transformers DIR IDS N   loads DIR, prints its N greedy tokens after IDS as {"tokens": [...]}
       export_peer.py fp8_in_transformers DIR  transformers dequantises DIR's FP8 weights to codes times scales
       export_peer.py auto_tokenizer DIR TEXT IDS   transformers' tokenizer of DIR gives these ids
       export_peer.py batch FILE               such commands in one process: FILE is a JSON list of argument lists;
                                               each prints one line
"""
import json
import math
import pathlib
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from released_models import FP8, dequantise, make, quantisable, quantise


def load(directory):
    """Every tensor, by the index where there is one; the index must tell the truth."""
    directory = pathlib.Path(directory)
    index = directory / "model.safetensors.index.json"
    files = sorted(directory.glob("*.safetensors"))
    tensors, places = {}, {}
    for file in files:
        with safe_open(file, "pt") as handle:
            for name in handle.keys():
                assert name not in tensors, f"{name} stands in two files"
                tensors[name], places[name] = handle.get_tensor(name), file.name
    if index.exists():
        listed = json.loads(index.read_text())
        assert listed["weight_map"] == places, "the index names other places"
        total = sum(t.numel() * t.element_size() for t in tensors.values())
        assert listed["metadata"]["total_size"] == total, "total_size"
    else:
        assert [f.name for f in files] == ["model.safetensors"], files
    return tensors


def equal_bytes(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.contiguous().view(torch.uint8),
                                                                    b.contiguous().view(torch.uint8))


def same(source, out):
    a, b = load(source), load(out)
    assert a.keys() == b.keys(), sorted(a.keys() ^ b.keys())[:10]
    for name in a:
        assert equal_bytes(a[name], b[name]), name
    print(f"{len(a)} tensors, every byte")


def floats(tensors):
    """FP8 codes with scales become FP32; the rest stays."""
    return {name: dequantise(t, tensors[name + "_scale_inv"]) if t.dtype == FP8 else t
            for name, t in tensors.items() if not name.endswith("_scale_inv")}


def cast(source, out, dtype):
    a, b = floats(load(source)), load(out)
    assert a.keys() == b.keys(), sorted(a.keys() ^ b.keys())[:10]
    for name, t in a.items():
        wide = dtype == "fp32" or (name.endswith("correction_bias") and t.dtype != torch.bfloat16)
        assert equal_bytes(t.to(torch.float32 if wide else torch.bfloat16), b[name]), name
    print(f"{len(a)} tensors cast to {dtype}")


def fp8(source, out):
    a, b = floats(load(source)), load(out)
    n = 0
    for name, t in a.items():
        if quantisable(name):
            codes, scales = quantise(t)
            assert equal_bytes(codes, b.pop(name)), name
            assert equal_bytes(scales, b.pop(name + "_scale_inv")), name
            n += 1
        else:
            wide = name.endswith("correction_bias")
            assert equal_bytes(t.to(torch.float32 if wide else torch.bfloat16), b.pop(name)), name
    assert not b, sorted(b)[:5]
    print(f"{n} matrices quantised by the released rule")


LAYER_NAMES = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
               "self_attn.q_a_proj": "attn_q_a", "self_attn.q_a_layernorm": "attn_q_a_norm",
               "self_attn.q_b_proj": "attn_q_b", "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
               "self_attn.kv_a_layernorm": "attn_kv_a_norm", "self_attn.o_proj": "attn_output",
               "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
               "mlp.gate": "ffn_gate_inp", "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
               "mlp.shared_experts.up_proj": "ffn_up_shexp", "mlp.shared_experts.down_proj": "ffn_down_shexp"}


def gguf_names(c, tensors):
    """Released name -> name in GGUF, of the tensors that are written as they are."""
    names = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
             "lm_head.weight": "output.weight"}
    for layer in range(c["num_hidden_layers"]):
        p, b = f"model.layers.{layer}.", f"blk.{layer}."
        names.update({f"{p}{ours}.weight": f"{b}{theirs}.weight" for ours, theirs in LAYER_NAMES.items()})
        names[p + "mlp.gate.e_score_correction_bias"] = b + "exp_probs_b.bias"
    return {ours: theirs for ours, theirs in names.items() if ours in tensors}


def gguf_tensors(c, tensors):
    """Name in GGUF -> float32 array in our (slowest first) order, by this file's own reading of the layout."""
    out = {theirs: tensors[ours] for ours, theirs in gguf_names(c, tensors).items()}
    for layer in range(c["num_hidden_layers"]):
        p, b = f"model.layers.{layer}.", f"blk.{layer}."
        kv = tensors[p + "self_attn.kv_b_proj.weight"].view(c["num_attention_heads"], -1, c["kv_lora_rank"])
        k, v = kv.split([c["qk_nope_head_dim"], c["v_head_dim"]], dim=1)
        out[b + "attn_k_b.weight"], out[b + "attn_v_b.weight"] = k.transpose(1, 2).contiguous(), v.contiguous()
        if layer < c["first_k_dense_replace"]:
            continue
        for kind in ("gate", "up", "down"):
            out[f"{b}ffn_{kind}_exps.weight"] = torch.stack(
                [tensors[f"{p}mlp.experts.{e}.{kind}_proj.weight"] for e in range(c["n_routed_experts"])])
            if not c["n_shared_experts"]:
                shape = out[f"{b}ffn_{kind}_exps.weight"].shape[1:]
                out[f"{b}ffn_{kind}_shexp.weight"] = torch.zeros(shape)
    return {name: t.float().contiguous().numpy() for name, t in out.items()}


def gguf_type(name, array, dtype):
    import gguf
    types = gguf.GGMLQuantizationType
    if array.ndim == 1 or "ffn_gate_inp" in name or dtype == "fp32":
        return types.F32
    four_bits = types.Q8_0 if name == "output.weight" else types.Q4_0
    wanted = {"bf16": types.BF16, "q8_0": types.Q8_0, "q4_0": four_bits}[dtype]
    return types.BF16 if wanted != types.BF16 and array.shape[-1] % 32 else wanted


def gguf_fields(c):
    d = "deepseek2."
    yarn = c.get("rope_scaling")
    fields = {"general.architecture": "deepseek2", d + "block_count": c["num_hidden_layers"],
              d + "context_length": c["max_position_embeddings"], d + "embedding_length": c["hidden_size"],
              d + "feed_forward_length": c["intermediate_size"], d + "attention.head_count": c["num_attention_heads"],
              d + "attention.head_count_kv": 1, d + "attention.q_lora_rank": c["q_lora_rank"] or 0,
              d + "attention.kv_lora_rank": c["kv_lora_rank"],
              d + "attention.key_length": c["kv_lora_rank"] + c["qk_rope_head_dim"],
              d + "attention.value_length": c["kv_lora_rank"],
              d + "attention.key_length_mla": c["qk_nope_head_dim"] + c["qk_rope_head_dim"],
              d + "attention.value_length_mla": c["v_head_dim"], d + "rope.dimension_count": c["qk_rope_head_dim"],
              d + "leading_dense_block_count": c["first_k_dense_replace"], d + "expert_count": c["n_routed_experts"],
              d + "expert_used_count": c["num_experts_per_tok"],
              d + "expert_shared_count": max(1, c["n_shared_experts"]),
              d + "expert_feed_forward_length": c["moe_intermediate_size"],
              d + "expert_weights_norm": c["norm_topk_prob"],
              d + "expert_gating_func": {"softmax": 1, "sigmoid": 2}[c["scoring_func"]]}
    near = {d + "rope.freq_base": c["rope_theta"], d + "attention.layer_norm_rms_epsilon": c["rms_norm_eps"],
            d + "expert_weights_scale": c["routed_scaling_factor"]}
    if c["n_group"] > 1:
        fields[d + "expert_group_count"], fields[d + "expert_group_used_count"] = c["n_group"], c["topk_group"]
    if yarn:
        fields[d + "rope.scaling.type"] = "yarn"
        fields[d + "rope.scaling.original_context_length"] = yarn["original_max_position_embeddings"]
        near[d + "rope.scaling.factor"] = yarn["factor"]
        near[d + "rope.scaling.yarn_log_multiplier"] = 0.1 * yarn["mscale_all_dim"]
    return fields, near


def check_vocabulary(value, directory):
    """tokenizer.ggml.* against what Hugging Face tokenizers make of the same tokenizer.json."""
    from tokenizers import Tokenizer
    theirs = Tokenizer.from_file(str(pathlib.Path(directory) / "tokenizer.json"))
    tokens = value("tokenizer.ggml.tokens")
    vocabulary = theirs.get_vocab(with_added_tokens=True)
    for token, at in vocabulary.items():
        assert tokens[at] == token, (at, token, tokens[at])
    assert all(token == f"[PAD{i}]" for i, token in enumerate(tokens) if i >= len(vocabulary))
    merges = json.loads(theirs.to_str())["model"]["merges"]
    assert value("tokenizer.ggml.merges") == [m if isinstance(m, str) else " ".join(m) for m in merges]
    types = value("tokenizer.ggml.token_type")
    for at, token in theirs.get_added_tokens_decoder().items():
        assert types[at] in (3, 4) and (types[at] == 3 or not token.special), (at, types[at])
    assert value("tokenizer.ggml.pre") == "deepseek-v3"


def gguf_check(source, file, dtype, tokenizer=None):
    import gguf
    import numpy as np
    c = json.loads((pathlib.Path(source) / "config.json").read_text())
    reader = gguf.GGUFReader(file)
    value = lambda key: reader.fields[key].contents()
    fields, near = gguf_fields(c)
    for key, wanted in fields.items():
        assert value(key) == wanted, (key, value(key), wanted)
    for key, wanted in near.items():
        assert math.isclose(value(key), wanted, rel_tol=1e-6), (key, value(key), wanted)
    if tokenizer:
        check_vocabulary(value, tokenizer)
    else:
        assert value("tokenizer.ggml.model") == "no_vocab"
    wanted = gguf_tensors(c, floats(load(source)))
    found = {t.name: t for t in reader.tensors}
    assert wanted.keys() == found.keys(), sorted(wanted.keys() ^ found.keys())
    for name, array in wanted.items():
        kind = gguf_type(name, array, dtype)
        assert found[name].tensor_type == kind, (name, found[name].tensor_type, kind)
        assert [int(n) for n in found[name].shape] == list(array.shape)[::-1], name
        assert found[name].data_offset % 32 == 0, name
        ours = np.ascontiguousarray(found[name].data).view(np.uint8).reshape(-1)
        theirs = np.ascontiguousarray(gguf.quants.quantize(array, kind)).view(np.uint8).reshape(-1)
        assert np.array_equal(ours, theirs), f"{name}: {(ours != theirs).sum()} bytes of {ours.size} differ"
    print(f"{len(found)} tensors as {dtype}")


def from_gguf(source, file, directory):
    """The inverse of gguf_tensors, over the values of the file: what a reader of it computes with."""
    import gguf
    source, directory = pathlib.Path(source), pathlib.Path(directory)
    c = json.loads((source / "config.json").read_text())
    held = {t.name: torch.from_numpy(gguf.quants.dequantize(t.data, t.tensor_type).copy())
            for t in gguf.GGUFReader(file).tensors}
    tensors = {name: t.float() for name, t in floats(load(source)).items()}
    for layer in range(c["num_hidden_layers"]):
        p, b = f"model.layers.{layer}.", f"blk.{layer}."
        k, v = held.pop(b + "attn_k_b.weight").transpose(1, 2), held.pop(b + "attn_v_b.weight")
        tensors[p + "self_attn.kv_b_proj.weight"] = torch.cat([k, v], dim=1).reshape(-1, c["kv_lora_rank"]).contiguous()
        for kind in ("gate", "up", "down"):
            stack = held.pop(f"{b}ffn_{kind}_exps.weight", None)
            for e in range(0 if stack is None else len(stack)):
                tensors[f"{p}mlp.experts.{e}.{kind}_proj.weight"] = stack[e].contiguous()
    names = gguf_names(c, tensors)
    for ours, theirs in names.items():
        if theirs in held:
            tensors[ours] = held[theirs].view(tensors[ours].shape).contiguous()
    directory.mkdir()
    c.update(torch_dtype="float32", num_nextn_predict_layers=0)
    beyond = f"model.layers.{c['num_hidden_layers']}."
    tensors = {name: t for name, t in tensors.items() if not name.startswith(beyond)}
    (directory / "config.json").write_text(json.dumps(c))
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})
    print(f"{len(tensors)} tensors")


def load_in_transformers(directory):
    import transformers
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype="auto", output_loading_info=True, experts_implementation="eager")
    # a model without shared experts has empty ones in transformers
    missing = [k for k in info["missing_keys"] if model.get_parameter(k).numel() > 0]
    assert not missing and not info["mismatched_keys"] and not info["error_msgs"], info
    layers = model.config.num_hidden_layers
    beyond = [k for k in info["unexpected_keys"] if not k.startswith(f"model.layers.{layers}.")]
    assert not beyond, beyond
    return model


def greedy(directory, ids, n_tokens):
    model = load_in_transformers(directory).float().eval()
    prompt = torch.tensor([[int(i) for i in ids.split(",")]])
    with torch.no_grad():
        out = model.generate(prompt, max_new_tokens=int(n_tokens), do_sample=False, eos_token_id=None, pad_token_id=0)
    print(json.dumps({"tokens": out[0, prompt.shape[1]:].tolist()}))


def fp8_in_transformers(directory):
    """On a CPU transformers dequantises FP8 blocks when it loads, to BF16. (It takes the size of a block from the
    number of scales, so that partial blocks beside whole ones, such as those of the released kv_a, are beyond it.)"""
    state = load_in_transformers(directory).state_dict()
    wanted = floats(load(directory))
    n = 0
    for name, t in wanted.items():
        if quantisable(name) and name in state:
            near = torch.allclose(state[name].float(), t.bfloat16().float(), rtol=2 ** -8, atol=0)
            assert state[name].shape == t.shape and near, name
            n += 1
    assert n > 10, n
    print(f"{n} FP8 matrices as we wrote them")


def auto_tokenizer(directory, text, ids):
    import transformers
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    found = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert found == json.loads(ids), (found, ids)
    config = json.loads((pathlib.Path(directory) / "config.json").read_text())
    assert tokenizer.eos_token_id == config["eos_token_id"] and tokenizer.bos_token_id == config["bos_token_id"]
    print(f"{len(found)} ids")


def batch(file):
    for command in json.loads(pathlib.Path(file).read_text()):
        try:
            VERBS[command[0]](*command[1:])
        except AssertionError:
            print("in " + " ".join(command), file=sys.stderr)
            raise
        sys.stdout.flush()


VERBS = {"make": make, "same": same, "cast": cast, "fp8": fp8, "gguf": gguf_check, "transformers": greedy,
         "from_gguf": from_gguf, "fp8_in_transformers": fp8_in_transformers, "auto_tokenizer": auto_tokenizer,
         "batch": batch}

if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in VERBS:
        sys.exit(__doc__)
    VERBS[sys.argv[1]](*sys.argv[2:])
