"""What Hugging Face transformers computes from a model: log-probabilities, routes, a trace, greedy text, losses of
AdamW."""
import torch

NEW_TOKENS, STEPS, RATE = 64, 20, 3e-4


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


def trace(model, ids):
    """What `hadal trace` writes, of one text: embedding, every layer's output, experts and weights, the final norm."""
    found, hooks = {"tokens": ids.int()}, []

    def keep(name, pick):
        def hook(_module, _inputs, out):
            found[name] = pick(out).detach().clone()
        return hook

    def keep_routes(name):
        def hook(_module, _inputs, out):
            found[f"{name}.moe.weights"], found[f"{name}.moe.experts"] = out[1].float().clone(), out[2].int().clone()
        return hook

    first = lambda out: (out[0] if isinstance(out, tuple) else out)
    rows = lambda out: first(out)[0] if first(out).dim() == 3 else first(out)
    hooks.append(model.model.embed_tokens.register_forward_hook(keep("embedding", rows)))
    hooks.append(model.model.norm.register_forward_hook(keep("final_norm", rows)))
    for i, layer in enumerate(model.model.layers):
        hooks.append(layer.register_forward_hook(keep(f"layers.{i}.output", rows)))
        if hasattr(layer.mlp, "gate"):
            hooks.append(layer.mlp.gate.register_forward_hook(keep_routes(f"layers.{i}")))
    with torch.no_grad():
        model(input_ids=ids[None])
    for h in hooks:
        h.remove()
    return {n: t.contiguous() for n, t in found.items()}


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
