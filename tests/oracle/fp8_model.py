"""The oracle's model under the FP8 recipe: every linear an autograd function of its own, whose operands are quantised
by fp8_layers.py and multiplied in double precision. What backward reads of attention's output and of a SwiGLU's inputs
is what was kept of them. Nothing of ours is used; the rules are those of the section [fp8] of a configuration.
"""
import torch
from torch.autograd import Function

from fp8_layers import EXACT, OCP, POWER, Codes, Recipe, silu, swiglu_backward
from model import Model

KINDS = ["q_a", "q_b", "kv_a", "kv_b", "o", "ffn_gate_up", "ffn_down", "experts_gate_up", "experts_down"]
FAULTS = ["gradients in square tiles", "weight gradients of the forward's codes", "attention's output as it was",
          "gate and up as they were", "the input of o by the usual rule of scales", "the router reads codes",
          "each head's part in tiles of its own"]


class Values:
    def __init__(self, values):
        self.values = values


class Linear(Recipe):
    """The products of one kind of linear; `high`: of its operands as they are."""
    high = False
    fault = ""

    def row(self, x, rule):
        return Values(x) if self.high else super().row(x, rule)

    def column(self, x, rule):
        return Values(x) if self.high else super().column(x, rule)

    def weight(self, w, turned=False):
        return Values(w) if self.high else super().weight(w, turned)

    def forward(self, x, w):
        return self.row(x, self.x).values.to(x.dtype) @ self.weight(w).values.to(x.dtype).T

    def backward(self, dy, w):
        codes = self.row(dy, self.dy)
        if self.fault == "gradients in square tiles" and not self.high:
            codes = Codes(dy, (self.tile, self.tile), self.dy)
        return codes.values.to(dy.dtype) @ self.weight(w, turned=True).values.to(dy.dtype)

    def weight_gradient(self, dy, x):
        if self.fault == "weight gradients of the forward's codes":
            x = self.row(x, self.x).values.to(x.dtype)
        return self.column(dy, self.dy).values.to(x.dtype).T @ self.column(x, self.x).values.to(x.dtype)


def linear_of(kind, fp8):
    if "mx_scales" in fp8:  # blocks of 32 in every operand, and of weights two sets of codes
        rule = OCP if fp8["mx_scales"] == OCP else POWER
        linear = Linear(kind, rule, rule, rule, 32, mx=True)
        linear.high = kind in fp8["high"]
        if linear.high:
            linear.x = EXACT
        return linear
    asked = [fp8[name] == POWER for name in ("input_scales", "gradient_scales", "weight_scales")]
    x = POWER if asked[0] or kind in ("o", "experts_gate_up") else EXACT  # made again in other tiles, or sent
    dy = POWER if asked[1] or kind == "experts_down" else EXACT
    linear = Linear(kind, x, dy, POWER if asked[2] else EXACT, fp8["tile"])
    linear.high = kind in fp8["high"]
    if linear.high:
        linear.x = EXACT
    return linear


def e5m6(x):
    """Rows in tiles of 128 with powers of two: 5 exponent bits of bias 15, 6 bits of fraction, largest 65024."""
    values = []
    for tile in x.float().split(128, dim=1):
        amax = tile.abs().amax(dim=1, keepdim=True)
        mantissa, exponent = torch.frexp(amax / torch.tensor(65024.0))
        exponent = torch.where(mantissa == 0.5, exponent - 1, exponent)
        t = torch.ldexp(tile.double(), -exponent)
        binade = torch.clamp(torch.frexp(t)[1] - 1, min=-14)
        step = torch.ldexp(torch.ones_like(t), binade - 6)
        t = torch.clamp(torch.round(t / step) * step, -65024, 65024)
        values.append(torch.where(amax > 0, torch.ldexp(t, exponent), torch.zeros_like(t)))
    return torch.cat(values, dim=1)


def kept(x, form, rule=EXACT):
    """What backward reads of x, in FP32's range of values."""
    if form == "bf16" or x.numel() == 0:  # the type of the tensors
        return x
    values = e5m6(x) if form == "e5m6" else Codes(x, (1, 128), rule).values
    return values.float().to(x.dtype)


class LinearFunction(Function):
    """y = x W^T; the weight's gradient reads `read` in place of x."""

    @staticmethod
    def forward(ctx, x, w, linear, read):
        ctx.save_for_backward(x if read is None else read, w)
        ctx.linear = linear
        return linear.forward(x, w)

    @staticmethod
    def backward(ctx, dy):
        x, w = ctx.saved_tensors
        return ctx.linear.backward(dy, w), ctx.linear.weight_gradient(dy, x), None, None


class Ffn(Function):
    """down(silu(gate x) * up x) of every row, times the row's weight. `sent`: x travels as codes, and dy where there
    are weights; then both are read as such in every product."""

    @staticmethod
    def forward(ctx, x, weight, gate, up, down, first, second, keep, sent):
        x = first.row(x, first.x).values.to(x.dtype) if sent else x
        g, u = first.forward(x, gate), first.forward(x, up)
        ctx.save_for_backward(x, weight, gate, up, down, kept(g, keep), kept(u, keep))
        ctx.recipe = first, second, sent
        y = second.forward(silu(g) * u, down)
        return y if weight is None else weight[:, None] * y

    @staticmethod
    def backward(ctx, dy):
        x, weight, gate, up, down, g, u = ctx.saved_tensors
        first, second, sent = ctx.recipe
        w = 1 if weight is None else weight[:, None]
        if sent and weight is not None:
            dy = second.row(dy, second.dy).values.to(dy.dtype)
        dh, h = second.backward(dy, down), silu(g) * u
        dg, du = swiglu_backward(w * dh, g, u)
        dx = first.backward(dg, gate) + first.backward(du, up)
        return (dx, None if weight is None else (dh * h).sum(-1), first.weight_gradient(dg, x),
                first.weight_gradient(du, x), second.weight_gradient(dy, w * h), None, None, None, None)


class Attention(Function):
    """softmax(scores) V over [head, query, key] and [key, head, d]; backward reads its result as it was kept."""

    @staticmethod
    def forward(ctx, scores, values, keep):
        p = torch.softmax(scores, dim=-1)
        out = torch.einsum("hij,jhd->ihd", p, values)
        ctx.save_for_backward(p, values, keep(out.flatten(1)).view(out.shape))
        return out

    @staticmethod
    def backward(ctx, d):
        p, values, out = ctx.saved_tensors
        d_p = torch.einsum("ihd,jhd->hij", d, values) - (d * out).sum(-1).T[:, :, None]
        return p * d_p, torch.einsum("hij,ihd->jhd", p, d), None


class PerHead(Function):
    """One half of kv_b, head by head, on the first columns of x [rows, heads, ..]; what follows them is copied. keys:
    x W_h, from queries to latents; else x W_h^T, from latents to values."""

    @staticmethod
    def forward(ctx, x, kv_b, linear, keys, c):
        ctx.save_for_backward(x, kv_b)
        ctx.recipe = linear, keys, c
        w, n = PerHead.half(linear.weight(kv_b).values.to(x.dtype), keys, c), x.shape[2]
        first = c.qk_nope_head_dim if keys else n
        codes = linear.row(x.flatten(1), linear.x).values.to(x.dtype).view(x.shape)
        if linear.fault == "each head's part in tiles of its own" and not linear.high:
            codes = torch.cat([linear.row(head, linear.x).values.to(x.dtype) for head in x.unbind(1)], 1).view(x.shape)
        y = torch.einsum("nhi,hir->nhr" if keys else "nhr,hir->nhi", codes[:, :, :first], w)
        return torch.cat([y, x[:, :, first:]], dim=-1)

    @staticmethod
    def half(kv_b, keys, c):
        heads = kv_b.view(c.n_heads, -1, kv_b.shape[1])
        return heads[:, :c.qk_nope_head_dim] if keys else heads[:, c.qk_nope_head_dim:]

    @staticmethod
    def backward(ctx, dy):
        x, kv_b = ctx.saved_tensors
        linear, keys, c = ctx.recipe
        w = PerHead.half(linear.weight(kv_b).values.to(x.dtype), keys, c)
        first, last = (c.qk_nope_head_dim, c.kv_lora_rank) if keys else (c.kv_lora_rank, c.v_head_dim)
        codes = linear.row(dy.flatten(1), linear.dy).values.to(x.dtype).view(dy.shape)[:, :, :last]
        dx = torch.einsum("nhr,hir->nhi" if keys else "nhi,hir->nhr", codes, w)
        over_x = linear.column(x.flatten(1), linear.x).values.to(x.dtype).view(x.shape)[:, :, :first]
        over_dy = linear.column(dy.flatten(1), linear.dy).values.to(x.dtype).view(dy.shape)[:, :, :last]
        d_kv_b = torch.zeros_like(kv_b)
        PerHead.half(d_kv_b, keys, c).copy_(torch.einsum("nhi,nhr->hir" if keys else "nhr,nhi->hir", over_x, over_dy))
        return torch.cat([dx, dy[:, :, last:]], dim=-1), d_kv_b, None, None, None


class Fp8Model(Model):
    fp8 = None  # settings of [fp8]
    absorbed = False
    fault = ""

    def recipe(self, prefix):
        """The linears of a layer, by kind, and what is kept of its attention's output and SwiGLU inputs."""
        layer, c = int(prefix.split(".")[1]), self.c
        last = c.n_layers - self.fp8["high_last_layers"] <= layer < c.n_layers
        high = layer < self.fp8["high_first_layers"] or last
        fp8 = self.fp8 | (dict(high=KINDS, attention_output="bf16", swiglu_inputs="bf16") if high else {})
        linears = {kind: linear_of(kind, fp8) for kind in KINDS}
        for linear in linears.values():
            linear.fault = self.fault
        if self.fault == "the input of o by the usual rule of scales":
            linears["o"].x = EXACT
        output, inputs = fp8["attention_output"], fp8["swiglu_inputs"]
        output = "bf16" if self.fault == "attention's output as it was" else output
        return linears, output, "bf16" if self.fault == "gate and up as they were" else inputs

    def router_logits(self, x, prefix):
        if self.fault == "the router reads codes":
            linear = self.recipe(prefix)[0]["experts_gate_up"]
            x = x + (linear.row(x, linear.x).values.to(x.dtype) - x).detach()
        return super().router_logits(x, prefix)

    def mask(self, batch, rows):
        rows = torch.tensor(rows)
        ends = torch.tensor([batch.segment_end(row) for row in rows.tolist()])
        return (rows[None] <= rows[:, None]) & (ends[None] == ends[:, None])

    def ffn(self, x, prefix):
        kinds, _, keep = self.recipe(prefix)
        first, second = ("ffn_gate_up", "ffn_down") if ".ffn." in prefix else ("experts_gate_up", "experts_down")
        weights = [self.w[prefix + name] for name in ("gate", "up", "down")]
        return Ffn.apply(x, None, *weights, kinds[first], kinds[second], keep, ".ffn." not in prefix)

    def attention(self, x, prefix, batch, rows):
        c, n, (kinds, keep_form, _) = self.c, len(rows), self.recipe(prefix)

        def linear(kind, x, name, read=None):
            return LinearFunction.apply(x, self.w[prefix + name], kinds[kind], read)

        if c.q_lora_rank:
            latent = self.norm(linear("q_a", x, "q_a"), prefix + "q_a_norm", self.latent_eps())
            q = linear("q_b", latent, "q_b")
        else:
            q = linear("q_b", x, "q")
        q_nope, q_rope = q.view(n, c.n_heads, -1).split([c.qk_nope_head_dim, c.qk_rope_head_dim], dim=-1)
        latent, k_rope = self.split_latent(linear("kv_a", x, "kv_a"), prefix)
        positions = torch.tensor(self.positions(batch, rows), dtype=torch.float64)
        length = max(count for _, count in batch.sequences)
        angles = positions[:, None] * self.rope_frequencies(length)
        cos, sin = (f(angles).to(x.dtype) for f in (torch.cos, torch.sin))
        q_rope, k_rope = self.rotate(q_rope, cos[:, None], sin[:, None]), self.rotate(k_rope, cos, sin)
        hidden = ~self.mask(batch, rows)

        def keep(out):
            return kept(out, keep_form, kinds["o"].x)

        def attend(q_nope, k_nope, v, keep):
            scores = torch.einsum("ihd,jhd->hij", q_nope, k_nope) + torch.einsum("ihd,jd->hij", q_rope, k_rope)
            return Attention.apply((scores * self.softmax_scale(length)).masked_fill(hidden, -torch.inf), v, keep)

        if self.absorbed:
            kv_b, heads = self.w[prefix + "kv_b"], latent[:, None].expand(-1, c.n_heads, -1)
            carried = PerHead.apply(torch.cat([q_nope, q_rope], dim=-1), kv_b, kinds["kv_b"], True, c)
            q_latent, q_rope = carried.split([c.kv_lora_rank, c.qk_rope_head_dim], dim=-1)
            z = attend(q_latent, heads, heads, lambda out: out)
            out = PerHead.apply(z, kv_b, kinds["kv_b"], False, c).flatten(1)
        else:
            k_nope, v = self.split_kv(linear("kv_b", latent, "kv_b"))
            out = attend(q_nope, k_nope, v, keep).flatten(1)
        return linear("o", out, "o", keep(out.detach()))

    def moe(self, x, prefix, sequence_rows, result, weight):
        c, (kinds, _, keep) = self.c, self.recipe(prefix)
        bias = self.w.get(prefix + "bias")
        scores = self.scores(self.router_logits(x, prefix))
        experts = self.select(scores, bias)
        weights = self.mixing_weights(scores, bias, experts)
        y = torch.zeros_like(x)
        for e in range(c.n_routed_experts):
            token, slot = (experts == e).nonzero(as_tuple=True)
            if len(token) == 0:
                continue
            w = [self.w[f"{prefix}experts.{name}"][e] for name in ("gate", "up", "down")]
            outputs = Ffn.apply(x[token], weights[token, slot], *w, kinds["experts_gate_up"], kinds["experts_down"],
                                keep, True)
            y = y.index_add(0, token, outputs)
        if c.n_shared_experts:
            y = y + self.shared_experts(x, prefix)
        result.balance = result.balance + weight * self.balance_loss(scores, experts, sequence_rows)
        result.routes.append(experts.tolist())
        result.expert_load.append(self.load(experts))
        return y


def model_of(settings, options, fault=""):
    return type("Sampled", (Fp8Model,), dict(fp8=settings, absorbed=options["attention_form"] == "absorbed",
                                             fault=fault))
