"""The oracle: the DeepSeek-V3 family in plain PyTorch, double precision, gradients by autograd.

Written from the report and the released formulas alone, never from src/. It is meant to be read beside them: explicit
masks, full score matrices, loops over experts. Section marks are those of the fact sheet that docs/numerics.md cites.
Every formula that is easy to get wrong is a method of its own, so that mutations.py can get it wrong on purpose.
Rows are tokens; weights are [out, in]; configuration keys are the field names of src/network/config/model_config.h.
"""
import math
from dataclasses import dataclass, field

import torch

from model_config import Config, is_norm, parameter_shapes  # noqa: F401 (others find them here)


@dataclass
class Batch:
    """Rows of some sequences. A segment is what attention may see, a sequence what the balance loss averages over."""
    tokens: list
    targets: list        # next token, -1 = none
    segments: list       # (begin, count): one per sequence, or one per document when documents are masked
    sequences: list      # (begin, count)

    def segment_end(self, row):
        return next(begin + count for begin, count in self.segments if begin <= row < begin + count)

    def position(self, row):
        return next(row - begin for begin, count in self.segments if begin <= row < begin + count)


@dataclass
class LossWeights:
    main: float
    mtp: list
    balance: float


@dataclass
class Result:
    main: torch.Tensor = None      # sum of -log p over valid targets
    main_count: int = 0
    mtp: list = field(default_factory=list)
    mtp_count: list = field(default_factory=list)
    balance: torch.Tensor = None   # already weighted
    total: torch.Tensor = None
    log_probs: torch.Tensor = None
    routes: list = field(default_factory=list)       # per MoE layer in order of execution: [rows][k], ascending
    expert_load: list = field(default_factory=list)  # likewise: tokens per expert


def mscale(factor, m):
    return 1.0 if factor <= 1 else 0.1 * m * math.log(factor) + 1.0


class Model:
    def __init__(self, config, weights):
        self.c = config if isinstance(config, Config) else Config(config)
        self.w = weights

    # ---- rotary embedding, §1.4 ----
    def yarn_on(self, length):
        return self.c.yarn["factor"] > 1

    def yarn_original(self):
        return self.c.yarn["original_positions"]

    def rope_frequencies(self, length):
        c, d, y = self.c, self.c.rotary_dim(), self.c.yarn
        plain = [c.rope_theta ** (-2 * i / d) for i in range(d // 2)]
        if not self.yarn_on(length):
            return torch.tensor(plain, dtype=torch.float64)

        def dimension(rotations):
            return d * math.log(self.yarn_original() / (2 * math.pi * rotations)) / (2 * math.log(c.rope_theta))

        low = max(math.floor(dimension(y["beta_fast"])), 0)
        high = min(math.ceil(dimension(y["beta_slow"])), d - 1)
        if low == high:
            high += 0.001
        ramp = [min(max((i - low) / (high - low), 0.0), 1.0) for i in range(d // 2)]
        return torch.tensor([f * ((1 - r) + r / y["factor"]) for f, r in zip(plain, ramp)], dtype=torch.float64)

    def rope_multiplier(self, length):
        y = self.c.yarn
        if not self.yarn_on(length):
            return 1.0
        return mscale(y["factor"], y["mscale"]) / mscale(y["factor"], y["mscale_all_dim"])

    def softmax_scale(self, length):
        if not self.c.is_latent():
            return self.c.whole_head() ** -0.5
        scale = (self.c.qk_nope_head_dim + self.c.qk_rope_head_dim) ** -0.5
        if not self.yarn_on(length):
            return scale
        return scale * mscale(self.c.yarn["factor"], self.c.yarn["mscale_all_dim"]) ** 2

    def rotate(self, x, cos, sin):
        """Pairs (2i, 2i+1) as complex numbers; x [..., d], cos and sin [T, d/2] broadcast over heads."""
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)

    # ---- pieces ----
    def norm(self, x, name, eps=None):
        eps = self.c.rms_eps if eps is None else eps
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + eps) * self.w[name]

    def latent_eps(self):
        return self.c.latent_norm_eps

    def ffn(self, x, prefix):
        gate, up = x @ self.w[prefix + "gate"].T, x @ self.w[prefix + "up"].T
        return (gate * torch.sigmoid(gate) * up) @ self.w[prefix + "down"].T

    def split_latent(self, both, prefix):
        """kv_a's output -> (normed latent, rope key); only the latent is normed."""
        latent, key = both.split([self.c.kv_lora_rank, self.c.qk_rope_head_dim], dim=-1)
        return self.norm(latent, prefix + "kv_a_norm", self.latent_eps()), key

    def split_kv(self, kv):
        """kv_b's output -> per head [nope key | value]."""
        c = self.c
        return kv.view(len(kv), c.n_heads, -1).split([c.qk_nope_head_dim, c.v_head_dim], dim=-1)

    def may_see(self, i, j, batch, rows):
        """May the query at index i of `rows` attend to the key at index j?"""
        return rows[j] <= rows[i] and batch.segment_end(rows[i]) == batch.segment_end(rows[j])

    def positions(self, batch, rows):
        return [batch.position(row) for row in rows]

    # ---- attention, §1.3 ----
    def attention(self, x, prefix, batch, rows):
        c, n = self.c, len(rows)
        if not c.is_latent():
            return self.grouped_attention(x, prefix, batch, rows)
        if c.q_lora_rank:
            latent = self.norm(x @ self.w[prefix + "q_a"].T, prefix + "q_a_norm", self.latent_eps())
            q = latent @ self.w[prefix + "q_b"].T
        else:
            q = x @ self.w[prefix + "q"].T
        q_nope, q_rope = q.view(n, c.n_heads, -1).split([c.qk_nope_head_dim, c.qk_rope_head_dim], dim=-1)
        latent, k_rope = self.split_latent(x @ self.w[prefix + "kv_a"].T, prefix)
        k_nope, v = self.split_kv(latent @ self.w[prefix + "kv_b"].T)
        cos, sin, length = self.cos_sin(x, batch, rows)
        q_rope = self.rotate(q_rope, cos[:, None], sin[:, None])
        k_rope = self.rotate(k_rope, cos, sin)
        scores = torch.einsum("ihd,jhd->hij", q_nope, k_nope) + torch.einsum("ihd,jd->hij", q_rope, k_rope)
        out = torch.einsum("hij,jhd->ihd", self.probabilities(scores, batch, rows, length), v)
        return out.reshape(n, -1) @ self.w[prefix + "o"].T

    def cos_sin(self, x, batch, rows):
        positions = torch.tensor(self.positions(batch, rows), dtype=torch.float64)
        length = max(count for _, count in batch.sequences)
        angles = positions[:, None] * self.rope_frequencies(length)
        cos, sin = ((f(angles) * self.rope_multiplier(length)).to(x.dtype) for f in (torch.cos, torch.sin))
        return cos, sin, length

    def probabilities(self, scores, batch, rows, length):
        mask = torch.tensor([[self.may_see(i, j, batch, rows) for j in range(len(rows))] for i in range(len(rows))])
        return torch.softmax((scores * self.softmax_scale(length)).masked_fill(~mask, -math.inf), dim=-1)

    # ---- Llama's attention: heads of their own, or groups of query heads that share one ----
    def kv_head_of(self, head):
        return head // (self.c.n_heads // self.c.kv_heads())

    def rotated_value(self, v, cos, sin):
        return v

    def grouped_attention(self, x, prefix, batch, rows):
        n, d = len(rows), self.c.whole_head()
        q, k, v = ((x @ self.w[prefix + name].T).view(n, -1, d) for name in "qkv")
        cos, sin, length = self.cos_sin(x, batch, rows)
        q, k = self.rotate(q, cos[:, None], sin[:, None]), self.rotate(k, cos[:, None], sin[:, None])
        v = self.rotated_value(v, cos[:, None], sin[:, None])
        shared = [self.kv_head_of(head) for head in range(self.c.n_heads)]
        scores = torch.einsum("ihd,jhd->hij", q, k[:, shared])
        out = torch.einsum("hij,jhd->ihd", self.probabilities(scores, batch, rows, length), v[:, shared])
        return out.reshape(n, -1) @ self.w[prefix + "o"].T

    # ---- mixture of experts, §1.5 ----
    def scores(self, logits):
        return torch.sigmoid(logits) if self.c.score_function == "sigmoid" else torch.softmax(logits, dim=-1)

    def group_scores(self, biased, unbiased):
        grouped = biased.view(len(biased), self.c.n_groups, -1)
        if self.c.group_score == "max":
            return grouped.max(dim=-1).values
        return grouped.topk(min(2, grouped.shape[-1]), dim=-1).values.sum(-1)

    def masked_value(self):
        return -math.inf

    def choice_scores(self, biased, unbiased):
        return biased

    def select(self, scores, bias):
        """Experts [T, k] ascending: best groups first, then the best experts in them; biased scores throughout."""
        c = self.c
        biased = (scores if bias is None else scores + bias).detach()
        groups = self.group_scores(biased, scores.detach()).topk(c.n_limited_groups, dim=-1).indices
        kept = torch.zeros(len(scores), c.n_groups, dtype=torch.bool).scatter_(1, groups, True)
        kept = kept.repeat_interleave(c.n_routed_experts // c.n_groups, dim=1)
        choice = self.choice_scores(biased, scores.detach()).masked_fill(~kept, self.masked_value())
        return choice.topk(c.n_experts_per_token, dim=-1).indices.sort(dim=-1).values

    def mixing_weights(self, scores, bias, experts):
        weights = scores.gather(1, experts)
        if self.c.normalize_top_k:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        return weights * self.c.routed_scale

    def shared_experts(self, x, prefix):
        return self.ffn(x, prefix + "shared.")

    def load(self, experts):
        return torch.bincount(experts.flatten(), minlength=self.c.n_routed_experts).tolist()

    def router_logits(self, x, prefix):
        return x @ self.w[prefix + "router"].T

    def moe(self, x, prefix, sequence_rows, result, weight):
        c = self.c
        bias = self.w.get(prefix + "bias")
        scores = self.scores(self.router_logits(x, prefix))
        experts = self.select(scores, bias)
        weights = self.mixing_weights(scores, bias, experts)
        out = [x.new_zeros(c.hidden_size) for _ in range(len(x))]
        for e in range(c.n_routed_experts):
            chosen = (experts == e).nonzero()
            if len(chosen) == 0:
                continue
            w = {name: self.w[f"{prefix}experts.{name}"][e] for name in ("gate", "up", "down")}
            gate, up = x[chosen[:, 0]] @ w["gate"].T, x[chosen[:, 0]] @ w["up"].T
            y = (gate * torch.sigmoid(gate) * up) @ w["down"].T
            for row, (t, slot) in enumerate(chosen.tolist()):
                out[t] = out[t] + weights[t, slot] * y[row]
        y = torch.stack(out) if out else x * 0.0
        if c.n_shared_experts:
            y = y + self.shared_experts(x, prefix)
        result.balance = result.balance + weight * self.balance_loss(scores, experts, sequence_rows)
        result.routes.append(experts.tolist())
        result.expert_load.append(self.load(experts))
        return y

    # ---- sequence-wise balance loss, §2.4; the sum over sequences, weighted by the caller ----
    def balance_sequences(self, sequence_rows):
        return [rows for rows in sequence_rows if len(rows)]

    def balance_shares(self, scores, experts):
        return scores / scores.sum(-1, keepdim=True)

    def balance_frequencies(self, scores, experts, rows):
        c = self.c
        best = scores[rows].detach().topk(c.n_experts_per_token, dim=-1).indices
        counts = torch.bincount(best.flatten(), minlength=c.n_routed_experts).to(torch.float64)
        return counts * c.n_routed_experts / (c.n_experts_per_token * len(rows))

    def balance_loss(self, scores, experts, sequence_rows):
        total = scores.new_zeros(())
        shares = self.balance_shares(scores, experts)
        for rows in self.balance_sequences(sequence_rows):
            total = total + (self.balance_frequencies(scores, experts, rows) * shares[rows].mean(0)).sum()
        return total

    # ---- block, §1.2 ----
    def block(self, x, layer, batch, rows, result, weight):
        p = f"layers.{layer}."
        x = x + self.attention(self.norm(x, p + "attention_norm"), p + "attention.", batch, rows)
        normed = self.norm(x, p + "ffn_norm")
        if not self.c.is_moe(layer):
            return x + self.ffn(normed, p + "ffn.")
        index = {row: i for i, row in enumerate(rows)}
        sequence_rows = [[index[row] for row in range(b, b + n) if row in index] for b, n in batch.sequences]
        return x + self.moe(normed, p + "moe.", sequence_rows, result, weight)

    # ---- multi-token prediction, §1.6 ----
    def mtp_rows(self, batch, depth):
        return [i for i in range(len(batch.tokens)) if i + depth < batch.segment_end(i)]

    def mtp_token(self, batch, row, depth):
        return batch.tokens[row + depth]

    def mtp_target(self, batch, row, depth):
        return batch.targets[row + depth]

    def mtp_concat(self, embedding, hidden):
        return torch.cat([embedding, hidden], dim=-1)

    def mtp_source(self, before_norm, after_norm):
        return after_norm

    def mtp_final_norm(self, layer):
        return f"layers.{layer}.mtp.final_norm"

    def mtp_norm_names(self, layer):
        return f"layers.{layer}.mtp.embedding_norm", f"layers.{layer}.mtp.hidden_norm"

    def mtp_head(self):
        return self.head()

    def head(self):
        return self.w["embedding"] if self.c.tie_embeddings else self.w["head"]

    def nll(self, logits, targets):
        """-log p(target) per row, 0 where there is no target."""
        log_probs = torch.log_softmax(logits, dim=-1)
        rows = [-log_probs[i, t] if t >= 0 else logits.new_zeros(()) for i, t in enumerate(targets)]
        return torch.stack(rows) if rows else logits.new_zeros(0)

    def mtp_module(self, k, source, rows_before, batch, result, weights):
        """One module; returns its rows and its state before and after its own final norm."""
        c, layer = self.c, self.c.n_layers + k - 1
        rows = self.mtp_rows(batch, k)
        targets = [self.mtp_target(batch, row, k) for row in rows]
        result.mtp_count.append(sum(t >= 0 for t in targets))
        if not rows:
            result.mtp.append(torch.zeros((), dtype=torch.float64))
            if c.is_moe(layer):
                result.routes.append([])
                result.expert_load.append([0] * c.n_routed_experts)
            return rows, source[:0], source[:0]
        index = {row: i for i, row in enumerate(rows_before)}
        e_norm, h_norm = self.mtp_norm_names(layer)
        embedding = self.norm(self.w["embedding"][[self.mtp_token(batch, row, k) for row in rows]], e_norm)
        hidden = self.norm(source[[index[row] for row in rows]], h_norm)
        x = self.mtp_concat(embedding, hidden) @ self.w[f"layers.{layer}.mtp.projection"].T
        x = self.block(x, layer, batch, rows, result, weights.balance)
        normed = self.norm(x, self.mtp_final_norm(layer))
        result.mtp.append(self.nll(normed @ self.mtp_head().T, targets).sum())
        return rows, x, normed

    # ---- the whole, §2.4 ----
    def forward(self, batch, weights):
        c = self.c
        result = Result(balance=torch.zeros((), dtype=torch.float64))
        rows = list(range(len(batch.tokens)))
        x = self.w["embedding"][batch.tokens]
        for layer in range(c.n_layers):
            x = self.block(x, layer, batch, rows, result, weights.balance)
        normed = self.norm(x, "final_norm")
        nll = self.nll(normed @ self.head().T, batch.targets)
        result.main, result.main_count = nll.sum(), sum(t >= 0 for t in batch.targets)
        result.log_probs = -nll.detach()
        for k in range(1, c.n_mtp + 1):
            rows, x, normed = self.mtp_module(k, self.mtp_source(x, normed), rows, batch, result, weights)
        result.total = self.total(result, weights)
        return result

    def total(self, result, weights):
        return weights.main * result.main + sum(w * s for w, s in zip(weights.mtp, result.mtp)) + result.balance

    # ---- auxiliary-loss-free balancing, §2.4 ----
    def updated_bias(self, bias, load, gamma):
        load = torch.tensor(load, dtype=torch.float64)
        return bias + gamma * torch.sign(load.mean() - load)
