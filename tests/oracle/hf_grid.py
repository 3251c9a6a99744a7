"""Random models of Hugging Face transformers, saved as its users save them, with what transformers computes from them.

usage: hf_grid.py DIRECTORY [--cases 64] [--only 3,4]     writes DIRECTORY/case_NNN/{model directory, expected.json, expected.safetensors}
       hf_grid.py DIRECTORY --traps                       seeded faults must move the numbers ten times beyond the tolerance

Configurations are sampled so that every pair of levels meets. A draw is kept only if it can show mistakes: log-probabilities
spread by a nat, every expert receives tokens, FP32 and FP64 choose the same experts, greedy text has 32 different tokens, and
twenty steps of AdamW lower the loss by 0.5.
"""
import argparse
import json
import os
import random
import shutil

import torch
import transformers
from safetensors.torch import load_file, save_file

from check_oracle_against_transformers import double_throughout, part, stranger, their_names
from grid import random_weights
from model import Batch, Config, LossWeights, Model

SEQUENCES, LENGTH, NEW_TOKENS, PROMPT, STEPS, RATE = 4, 48, 64, 8, 20, 3e-4
MORE_SEQUENCES = 20  # for BF16, whose errors scatter
FACTORS = dict(
    family=[dict(family="v3"), dict(family="v2"), dict(family="v2_lite"), dict(family="kimi")],
    width=[dict(hidden_size=64), dict(hidden_size=57), dict(hidden_size=136)],
    vocab=[dict(vocab_size=131), dict(vocab_size=160)],
    layers=[dict(n_layers=2, n_dense_layers=1), dict(n_layers=2, n_dense_layers=0), dict(n_layers=3, n_dense_layers=1)],
    heads=[dict(n_heads=2), dict(n_heads=3), dict(n_heads=4)],
    q_lora=[dict(q_lora_rank=0), dict(q_lora_rank=24), dict(q_lora_rank=13)],
    kv_lora=[dict(kv_lora_rank=16), dict(kv_lora_rank=21)],
    head_dims=[dict(qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16), dict(qk_nope_head_dim=9, qk_rope_head_dim=4, v_head_dim=7),
               dict(qk_nope_head_dim=12, qk_rope_head_dim=6, v_head_dim=10)],
    dense_ffn=[dict(dense_ffn_size=150), dict(dense_ffn_size=51)],
    expert_ffn=[dict(expert_ffn_size=24), dict(expert_ffn_size=17)],
    experts=[dict(n_routed_experts=8, n_groups=1, n_limited_groups=1, n_experts_per_token=2),
             dict(n_routed_experts=7, n_groups=1, n_limited_groups=1, n_experts_per_token=3),
             dict(n_routed_experts=12, n_groups=3, n_limited_groups=2, n_experts_per_token=3),
             dict(n_routed_experts=16, n_groups=4, n_limited_groups=2, n_experts_per_token=4)],
    shared=[dict(n_shared_experts=0), dict(n_shared_experts=1), dict(n_shared_experts=2)],
    bias=[dict(bias="far"), dict(bias="negative")],
    normalize=[dict(normalize_top_k=True), dict(normalize_top_k=False)],
    scale=[dict(routed_scale=1.0), dict(routed_scale=2.5)],
    eps=[dict(rms_eps=1e-6), dict(rms_eps=1e-5), dict(rms_eps=1e-2)],
    theta=[dict(rope_theta=10000.0), dict(rope_theta=50.0)],
    yarn=[dict(), dict(yarn=dict(factor=4.0, original_positions=32, mscale=1.0, mscale_all_dim=1.0)),
          dict(yarn=dict(factor=40.0, original_positions=64, mscale=0.707, mscale_all_dim=1.0, beta_fast=8.0, beta_slow=1.0))],
    tie=[dict(tie_embeddings=False), dict(tie_embeddings=True)],
    storage=[dict(storage="fp32"), dict(storage="bf16"), dict(storage="fp8"), dict(storage="fp8_ue8m0")],
    files=[dict(files="one"), dict(files="sharded")],
    spelling=[dict(spelling="new"), dict(spelling="old")],
)
OPTION_KEYS = ("family", "bias", "storage", "files", "spelling")


def pairs(choice):
    names = list(FACTORS)
    return {(i, choice[names[i]], j, choice[names[j]]) for i in range(len(names)) for j in range(i)}


def sample(n_cases, seed=4):
    draw = random.Random(seed)
    sizes = [len(levels) for levels in FACTORS.values()]
    missing = {(i, a, j, b) for i in range(len(sizes)) for j in range(i) for a in range(sizes[i]) for b in range(sizes[j])}
    cases = []
    for _ in range(n_cases):
        candidates = [{f: draw.randrange(len(levels)) for f, levels in FACTORS.items()} for _ in range(60)]
        best = max(candidates, key=lambda c: len(pairs(c) & missing))
        missing -= pairs(best)
        cases.append(best)
    if missing and n_cases >= 60:
        raise SystemExit(f"{len(missing)} pairs of levels never meet in {n_cases} cases")
    return cases


def describe(choice):
    """(model configuration in our field names, options)"""
    merged = {}
    for factor, level in choice.items():
        merged.update(FACTORS[factor][level])
    options = {k: merged.pop(k) for k in OPTION_KEYS}
    family = options["family"]
    if family in ("v2", "v2_lite"):  # no bias, no normalisation (transformers knows none there), group maximum
        merged.update(score_function="softmax", group_score="max", selection_bias=False, normalize_top_k=False)
        options["bias"] = "none"
        for size in ("kv_lora_rank", "qk_nope_head_dim"):  # its rotary code needs even strides
            merged[size] += merged[size] % 2
        if merged["hidden_size"] % merged["n_heads"]:
            merged["n_heads"] = 3 if merged["hidden_size"] % 3 == 0 else 4
    if family in ("v2_lite", "kimi"):
        merged.update(n_groups=1, n_limited_groups=1)
    if family == "v2_lite":
        merged.update(q_lora_rank=0)
    merged["max_positions"] = 256
    return merged, options


def draw_weights(c, bias, seed):
    """FP32 weights under our names: every matrix's deviation at least 0.08, log-probabilities far apart."""
    weights = random_weights(c, "far" if bias == "none" else bias, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    for name, w in weights.items():
        if name.endswith("moe.bias"):  # far from zero, but near one another: else some experts never see a token
            w.copy_((0.15 * torch.randn(w.shape, generator=generator)).double() + {"far": 1.5, "negative": -3.0}[bias])
        elif name == "embedding" and not c.tie_embeddings:  # small beside what the layers add, so that greedy text depends on
            w.mul_(0.3)                                     # more than its last token
        elif not name.endswith("norm"):
            gain = 1.0 if name in ("embedding", "head") or name.endswith("router") else 1.4
            w.mul_(max(gain, 0.08 / float(w.std())))
    return {n: w.float() for n, w in weights.items()}


# ---- storage ----
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
    config["rope_scaling"] = None
    if rope["rope_type"] == "yarn":
        config["rope_scaling"] = {"type": "yarn", **{k: v for k, v in rope.items() if k not in ("rope_theta", "rope_type")}}
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


# ---- what transformers computes ----
def log_probs(model, ids):
    logits = model(input_ids=ids).logits
    logits = logits.float() if logits.dtype == torch.bfloat16 else logits
    return torch.log_softmax(logits[:, :-1], -1).gather(2, ids[:, 1:, None])[..., 0]


def routes(model, ids):
    """Experts of every MoE layer, as sets, and how many tokens each expert got at least."""
    found = []
    hooks = [m.register_forward_hook(lambda _m, _i, out: found.append(out[2].sort(-1).values.clone()))
             for n, m in model.named_modules() if n.endswith("mlp.gate")]
    with torch.no_grad():
        values = log_probs(model, ids)
    for h in hooks:
        h.remove()
    return found, values


def greedy(model, prompts):
    """NEW_TOKENS ids after each prompt and, for each, how far the best two logits were apart."""
    ids, gaps = prompts.clone(), []
    with torch.no_grad():
        for _ in range(NEW_TOKENS):
            best = model(input_ids=ids).logits[:, -1].float().topk(2)
            gaps.append(best.values[:, 0] - best.values[:, 1])
            ids = torch.cat([ids, best.indices[:, :1]], dim=1)
    return ids[:, prompts.shape[1]:], torch.stack(gaps, dim=1)


def adamw_losses(model, ids):
    """STEPS of AdamW on two batches in turn; norms are not decayed, nothing is clipped."""
    groups = [dict(params=[p for n, p in model.named_parameters() if "norm" not in n], weight_decay=0.1),
              dict(params=[p for n, p in model.named_parameters() if "norm" in n], weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.95), eps=1e-6)
    losses = []
    for step in range(STEPS):
        batch = ids[:2] if step % 2 == 0 else ids[2:]
        loss = -log_probs(model, batch).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


class Draw:
    """One candidate: weights, text and all that transformers says about them. reason: why it cannot be used."""

    def __init__(self, index, choice, attempt, directory):
        values, self.options = describe(choice)
        self.c, self.reason = Config(values), None
        seed = 100 * index + attempt
        torch.manual_seed(seed)
        self.weights = draw_weights(self.c, self.options["bias"], seed)
        self.ids = torch.randint(0, self.c.vocab_size, (SEQUENCES, LENGTH))
        theirs = stranger(self.c).float()
        theirs.config.max_position_embeddings = self.c.max_positions
        names, state = their_names(self.c), dict(theirs.named_parameters()) | dict(theirs.named_buffers())
        with torch.no_grad():
            for ours, w in self.weights.items():
                part(state, names[ours]).copy_(w)
        shutil.rmtree(directory, ignore_errors=True)
        save_model(directory, theirs, self.options)
        self.theirs = theirs
        self.measure()

    def measure(self):
        theirs, ids = self.theirs, self.ids
        chosen, self.values = routes(theirs, ids)
        if float(self.values.std()) < 1:
            return self.refuse(f"log-probabilities spread by {float(self.values.std()):.2f}")
        if any(len(layer.unique()) < self.c.n_routed_experts for layer in chosen):
            return self.refuse("an expert without a token")
        with double_throughout():
            in_double, _ = routes(theirs.double(), ids)
        theirs.float()
        if any((a != b).any() for a, b in zip(chosen, in_double)):
            return self.refuse("FP32 and FP64 choose other experts")
        if (noise := self.noise()) > 2e-5:
            return self.refuse(f"transformers' own FP32 gradients are {noise:.0e} from its FP64")
        prompts = torch.stack([row[start:start + PROMPT] for row in ids for start in (0, 8, 16, 24)])
        texts, gaps = greedy(theirs, prompts)
        best = max(range(len(texts)), key=lambda i: len(texts[i].unique()))  # the one that loops latest
        self.prompt, self.text, self.gaps = prompts[best], texts[best], gaps[best].tolist()
        if len(self.text.unique()) < 32:
            self.refuse(f"greedy text of {len(self.text.unique())} different tokens")

    def noise(self):
        """Largest relative distance of a gradient in FP32 from the same in FP64: a draw must not blow rounding up."""
        def gradients():
            self.theirs.zero_grad()
            (-log_probs(self.theirs, self.ids).mean()).backward()
            return {n: p.grad.double().clone() for n, p in self.theirs.named_parameters() if p.grad is not None}
        single = gradients()
        with double_throughout():
            self.theirs.double()
            double = gradients()
        self.theirs.float()
        self.theirs.zero_grad()
        return max(float((single[n] - g).norm() / g.norm()) for n, g in double.items() if float(g.norm()) > 0)

    def refuse(self, reason):
        self.reason = reason

    def expected(self):
        theirs, ids = self.theirs, self.ids
        loss = -log_probs(theirs, ids).mean()
        loss.backward()
        tensors = {"log_probs": self.values.contiguous(), "tokens": ids.int()}
        for name, p in theirs.named_parameters():
            if p.numel() and p.grad is not None:
                for stored, piece in per_expert(name, p.grad):
                    tensors["g." + stored] = piece.clone().contiguous()
        theirs.zero_grad()
        kept = {n: t.clone() for n, t in list(theirs.named_parameters()) + list(theirs.named_buffers())}
        to_bf16(theirs)
        more = torch.randint(0, self.c.vocab_size, (MORE_SEQUENCES, LENGTH), generator=torch.Generator().manual_seed(3))
        with torch.no_grad():
            in_bf16 = log_probs(theirs, more)
        theirs.float()
        with torch.no_grad():
            for name, t in list(theirs.named_parameters()) + list(theirs.named_buffers()):
                t.copy_(kept[name])
            tensors |= {"more_tokens": more.int(), "more_log_probs": log_probs(theirs, more).contiguous(), "more_log_probs_bf16": in_bf16.contiguous()}
        losses = adamw_losses(theirs, ids)
        with torch.no_grad():
            for name, t in list(theirs.named_parameters()) + list(theirs.named_buffers()):
                t.copy_(kept[name])
        with double_throughout():
            in_double = adamw_losses(theirs.double(), ids)
        if max(abs(a - b) for a, b in zip(losses, in_double)) > 2e-5:
            self.refuse(f"FP32 and FP64 lose each other by {max(abs(a - b) for a, b in zip(losses, in_double)):.0e} in training")
        if losses[0] - losses[-1] < 0.5:
            self.refuse(f"AdamW lowers the loss from {losses[0]:.3f} to {losses[-1]:.3f} only")
        return tensors, dict(loss=float(loss.detach()), losses=losses, prompt=self.prompt.tolist(), text=self.text.tolist(), gaps=self.gaps,
                             distinct=len(self.text.unique()), summary=self.summary())

    def summary(self):
        c, o = self.c, self.options
        return (f"{o['family']} {o['storage']} {o['files']} rope {o['spelling']}; hidden {c.hidden_size}, {c.n_layers} layers "
                f"({c.n_dense_layers} dense), q_lora {c.q_lora_rank}, {c.n_routed_experts} experts in {c.n_groups} groups, top "
                f"{c.n_experts_per_token}, shared {c.n_shared_experts}, yarn {c.yarn['factor']:g}, bias {o['bias']}")


def make_case(directory, index, choice):
    for attempt in range(40):
        draw = Draw(index, choice, attempt, f"{directory}/case_{index:03d}")
        if draw.reason is None:
            tensors, facts = draw.expected()
        if draw.reason is None:
            save_file(tensors, f"{directory}/case_{index:03d}/expected.safetensors.data")
            with open(f"{directory}/case_{index:03d}/expected.json", "w") as f:
                json.dump(facts | dict(attempt=attempt, config=describe(choice)[0], options=draw.options), f)
            return draw
        last = draw.reason
        if os.environ.get("HF_GRID_TALK"):
            print(f"case {index} attempt {attempt}: {last}", flush=True)
    raise SystemExit(f"case {index}: no usable draw in 40, the last: {last}; {draw.summary()}")


# ---- traps: the grid must show every known mistake, ten times beyond what it tolerates ----
TOLERANCE = dict(log_probs=2e-4, gradient=1e-4)
BEYOND_TRANSFORMERS = ("mtp_", "balance_", "load_", "bias_update_", "documents_", "local_", "masked_target_")  # it has none of these


def oracle_of(draw, model_class):
    """(log-probabilities, gradients by our names) of the first sequence, by the oracle or a faulty one."""
    c, ids = draw.c, draw.ids[0].tolist()
    state, names = dict(draw.theirs.named_parameters()) | dict(draw.theirs.named_buffers()), their_names(draw.c)
    leaves = {n: part(state, names[n]).detach().double().requires_grad_(not n.endswith("moe.bias")) for n in draw.weights}
    span = [(0, LENGTH)]
    result = model_class(c, leaves).forward(Batch(ids, ids[1:] + [-1], span, span), LossWeights(1.0, [], 0.0))
    result.total.backward()
    return result.log_probs[:-1], {n: w.grad for n, w in leaves.items() if w.grad is not None}


def theirs_of(draw, changed=None):
    """The same by transformers, in FP32; changed: stored values in place of some of its weights."""
    kept = {n: t.clone() for n, t in list(draw.theirs.named_parameters()) + list(draw.theirs.named_buffers())}
    put_back(draw.theirs, changed or {})
    draw.theirs.zero_grad()
    values = log_probs(draw.theirs, draw.ids[:1])[0]
    (-values.sum()).backward()
    state, names = dict(draw.theirs.named_parameters()), their_names(draw.c)
    gradients = {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in state.items()}
    found = {n: part(gradients, names[n]) for n in draw.weights if not n.endswith("moe.bias")}
    with torch.no_grad():
        for name, t in list(draw.theirs.named_parameters()) + list(draw.theirs.named_buffers()):
            t.copy_(kept[name])
    return values.detach().double(), found


def moved(a, b):
    """How many tolerances apart two answers are, the larger of log-probabilities and gradients; where."""
    worst = float((a[0] - b[0]).abs().max()) / TOLERANCE["log_probs"], "log-probabilities"
    for name, g in b[1].items():
        if float(g.norm()) > 0 and name in a[1]:
            worst = max(worst, (float((a[1][name].double() - g.double()).norm() / g.norm()) / TOLERANCE["gradient"], name))
    return worst


def storage_faults(draw, directory):
    """FP8 read wrongly: {name: values}."""
    files = [f for f in sorted(os.listdir(directory)) if f.endswith(".safetensors")]
    tensors = {}
    for f in files:
        tensors.update(load_file(f"{directory}/{f}"))
    found = {}
    for fault in ("divided", "transposed"):
        found[fault] = {n: dequantise(t, tensors[n.replace(".weight", ".weight_scale_inv")].float(), fault)
                        for n, t in tensors.items() if t.dtype == torch.float8_e4m3fn}
    return found


def case_tuple(draw):
    c, o = draw.c, draw.options
    config = {k: v for k, v in vars(c).items() if k != "yarn"} | ({"yarn": c.yarn} if c.yarn["factor"] > 1 else {})
    traits = dict(bias=o["bias"], lengths=[LENGTH], masked=False, masked_targets=False, open_end=False)
    options = dict(attention_form="absorbed", recompute="none", split=False)
    return config, options, traits, Batch(draw.ids[0].tolist(), [], [], [])


def traps(directory, choices):
    from mutations import MUTANTS
    draws, failed = {}, False

    def draw(i):
        if i not in draws:
            draws[i] = make_case(directory, i, choices[i])
        return draws[i]

    def report(trap, name, fault, best):
        nonlocal failed
        failed |= best[0] < 10
        print(f"MUTANT\t{trap}\t{name}\t{fault}\t" + (f"moves {best[1]} by {best[0]:.0f} tolerances" if best[0] >= 10 else f"SURVIVED ({best})"),
              flush=True)

    wanted = [m for m in MUTANTS if not m.name.startswith(BEYOND_TRANSFORMERS)]
    for m in wanted:
        best, tried = (0.0, "nothing"), 0
        for i in range(len(choices)):
            if tried == 4 or best[0] >= 10:
                break
            if not m.shows(case_tuple(draw(i))):
                continue
            tried += 1
            theirs = theirs_of(draw(i))
            if tried == 1 and (honest := moved(oracle_of(draw(i), Model), theirs))[0] > 1:
                raise SystemExit(f"the oracle itself differs from transformers on case {i}: {honest}")
            best = max(best, moved(oracle_of(draw(i), m.model), theirs))
        report(m.trap, m.name, m.fault, best)
    fp8 = [i for i in range(len(choices)) if describe(choices[i])[1]["storage"] == "fp8" and describe(choices[i])[0]["hidden_size"] == 136][:3]
    for fault, trap in (("divided", "15"), ("transposed", "16")):
        best = (0.0, "nothing")
        for i in fp8:
            values = storage_faults(draw(i), f"{directory}/case_{i:03d}")[fault]
            best = max(best, moved(theirs_of(draw(i), values), theirs_of(draw(i))))
        report(trap, f"fp8_scales_{fault}", f"FP8 scales {fault}", best)
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("--cases", type=int, default=64)
    parser.add_argument("--only", help="comma-separated case numbers")
    parser.add_argument("--traps", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    os.makedirs(args.directory, exist_ok=True)
    choices = sample(args.cases)
    if args.traps:
        raise SystemExit(1 if traps(args.directory, choices) else 0)
    for i in [int(i) for i in args.only.split(",")] if args.only else range(args.cases):
        draw = make_case(args.directory, i, choices[i])
        print(f"case {i}: {draw.summary()}", flush=True)


if __name__ == "__main__":
    main()
