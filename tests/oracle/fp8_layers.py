"""Writes layers under the FP8 recipe for the C++ tests: DIR/fp8_layers.json (cases: kind, recipe, facts) and
DIR/fp8_layers.safetensors (CASE/in.NAME inputs, w.NAME weights, c.NAME codes, s.NAME scales, out.NAME results).
Nothing of ours is used: tiles, scales and codes are made here (torch's own cast after clamping), products are those of
the dequantised operands in double precision.

usage: fp8_layers.py DIR [--faults]
With --faults: DIR/N for each of the list below, with fewer cases: one rule of the recipe is wrong, which the comparison
must notice.
"""
import argparse
import json
import os

import torch
from safetensors.torch import save_file

EXACT, POWER, OCP = "exact", "power_of_two", "ocp"
FAULTS = ["floor on gradients", "gradients in square tiles", "weight gradient from codes with exact scales",
          "scales after the codes", "token tiles over two experts", "unrounded gate and up", "scale rounded down",
          "codes of rounded weights", "scales of the other orientation", "blocks of weights for the other product"]
fault = None


def scale_of(amax, rule, floor):
    a = torch.clamp(amax.float(), min=floor)
    if rule == OCP:  # 2^(floor(log2 a) - 8): frexp's exponent is one more
        below = torch.ldexp(torch.ones_like(a), torch.frexp(a)[1] - 1 - 8)
        return torch.where(a > 0, torch.clamp(below, min=2.0**-126), torch.ones_like(a))
    s = torch.clamp(a / torch.tensor(448.0), min=2.0**-126)
    if rule == POWER:
        mantissa, exponent = torch.frexp(s)  # s = mantissa * 2^exponent, mantissa in [0.5, 1)
        down = fault == "scale rounded down"
        s = torch.ldexp(torch.ones_like(s), torch.where((mantissa == 0.5) | torch.tensor(down), exponent - 1, exponent))
    return torch.where(a > 0, s, torch.ones_like(s))


class Codes:
    """A matrix as codes in tiles; `values` is what a product multiplies, in double precision."""

    def __init__(self, x, tile, rule=EXACT, floor=0.0):
        x, (rows, cols) = x.float(), x.shape
        down, across = -(-rows // tile[0]), -(-cols // tile[1])
        padded = torch.zeros(down * tile[0], across * tile[1])
        padded[:rows, :cols] = x
        blocks = padded.view(down, tile[0], across, tile[1])
        amax = blocks.abs().amax(dim=(1, 3))
        self.scales = scale_of(amax, rule, floor)
        by = self.scales
        if fault == "scales after the codes" and rule == POWER:
            by = scale_of(amax, EXACT, floor)
        spread = lambda s: s.repeat_interleave(tile[0], 0).repeat_interleave(tile[1], 1)[:rows, :cols]
        self.codes = torch.clamp(x / spread(by), -448, 448).to(torch.float8_e4m3fn)
        scales = spread(self.scales)
        if fault == "scales of the other orientation" and tile[0] > tile[1] and across > 1:
            scales = spread(self.scales.roll(1, dims=1))
        self.values = self.codes.double() * scales.double()


def together(parts, join=torch.cat):
    """Codes of several matrices as those of one."""
    made = Codes.__new__(Codes)
    made.codes, made.scales = join([p.codes.view(torch.uint8) for p in parts]), join([p.scales for p in parts])
    return made


class Recipe:
    def __init__(self, name, x=EXACT, dy=EXACT, w=EXACT, tile=128, mx=False):
        self.name, self.x, self.dy, self.w, self.tile, self.mx = name, x, dy, w, tile, mx

    def row(self, x, rule):
        return Codes(x, (1, self.tile), rule)

    def column(self, x, rule):
        return Codes(x, (self.tile, 1), rule)

    def gradient(self, dy):
        if fault == "floor on gradients":
            return Codes(dy, (1, self.tile), self.dy, 1e-4)
        if fault == "gradients in square tiles":
            return Codes(dy, (self.tile, self.tile), self.dy)
        return self.row(dy, self.dy)

    def weight(self, w, turned=False):  # turned: for dx = dy W, which sums over the rows of W
        if fault == "codes of rounded weights":
            w = w.bfloat16().float()
        if fault == "blocks of weights for the other product":
            turned = not turned
        along = (self.tile, 1) if turned else (1, self.tile)
        return Codes(w, along if self.mx else (self.tile, self.tile), self.w, 1e-4)

    # y = x W^T, dx = dy W, dW = dy^T x
    def forward(self, x, w):
        return self.row(x, self.x).values @ self.weight(w).values.T

    def backward(self, dy, w):
        return self.gradient(dy).values @ self.weight(w, turned=True).values

    def weight_gradient(self, dy, x):
        if fault == "weight gradient from codes with exact scales":
            x = self.row(x, self.x).values
        return self.column(dy, self.dy).values.T @ self.column(x, self.x).values


MX = Recipe("mx", POWER, POWER, POWER, 32, True)


def silu(g):
    return g * torch.sigmoid(g)


def swiglu_backward(dh, g, u):
    s = torch.sigmoid(g)
    return dh * u * (s + g * s * (1 - s)), dh * silu(g)


def kept(x):  # E4M3 in rows of 128, exact scales, in FP32 again
    if fault == "unrounded gate and up":
        return x
    return Codes(x, (1, 128)).values.float().double()


class Writer:
    def __init__(self):
        self.cases, self.tensors = [], {}

    def case(self, kind, recipes, **facts):
        self.name = f"{kind} {len(self.cases)}"
        rules = [dict(x=r.x, dy=r.dy, w=r.w, tile=r.tile, mx=r.mx) for r in recipes]
        self.cases.append(dict(name=self.name, kind=kind, recipes=rules, facts=facts))

    def put(self, name, x):
        self.tensors[f"{self.name}/{name}"] = x.contiguous()

    def codes(self, name, c):
        self.put("c." + name, c.codes.view(torch.uint8).int())
        self.put("s." + name, c.scales)

    def weights(self, first, second, *matrices):
        """Codes of gate, up and down, or of stacks of them, for both products."""
        for name, recipe, w in zip(("gate", "up", "down"), (first, first, second), matrices):
            for turned in (False, True):
                made = [recipe.weight(one, turned) for one in w.view(-1, *w.shape[-2:])]
                self.codes(f"weight {name} {int(turned)}", together(made, torch.stack if w.dim() > 2 else torch.cat))

    def results(self, **tensors):
        for name, x in tensors.items():
            self.put("out." + name, x.double())


def random(generator, *shape, size=1.0):
    """Values that differ by orders of magnitude from row to row and from column to column, as real ones do."""
    x = torch.randn(*shape, generator=generator)
    rows = torch.exp(1.5 * torch.randn(*shape[:-1], 1, generator=generator))
    cols = torch.exp(torch.randn(shape[-1], generator=generator))
    return x * rows * cols * size


SIZES = [(129, 129, 127, 1e-9), (150, 300, 140, 1.0), (1, 128, 128, 1e-3), (3, 20, 7, 1.0)]  # the last: of dy


def linear_cases(out, generator):
    recipes = [Recipe("report"), Recipe("powers", POWER, POWER, POWER), Recipe("o", x=POWER), Recipe("down", dy=POWER),
               Recipe("fine", tile=32), MX, Recipe("ocp", OCP, OCP, OCP, 32, True)]
    for recipe in [*recipes[:2], MX] if fault else recipes:
        for rows, width, outs, size in SIZES[:1] if fault else SIZES:
            x, w = random(generator, rows, width), random(generator, outs, width, size=0.05)
            dy = random(generator, rows, outs, size=size)
            out.case("linear", [recipe])
            out.put("in.x", x), out.put("in.dy", dy), out.put("w.weight", w)
            out.codes("x", recipe.row(x, recipe.x)), out.codes("dy", recipe.gradient(dy))
            out.codes("x over tokens", recipe.column(x, recipe.x))
            out.codes("dy over tokens", recipe.column(dy, recipe.dy))
            out.codes("weight", recipe.weight(w)), out.codes("turned weight", recipe.weight(w, turned=True))
            out.results(y=recipe.forward(x, w), dx=recipe.backward(dy, w), dw=recipe.weight_gradient(dy, x))


def mlp_cases(out, generator):
    of_norm = (Recipe("gate_up"), Recipe("down"))
    dispatched = (Recipe("gate_up", x=POWER), Recipe("down", dy=POWER))
    for first, second in [of_norm, dispatched] + ([] if fault else [(MX, MX)]):
        for rows, hidden, width in [(5, 129, 30)] if fault else [(140, 200, 150), (5, 129, 30)]:
            x, dy = random(generator, rows, hidden, size=0.3), random(generator, rows, hidden, size=1e-4)
            gate, up, down = (random(generator, *shape, size=0.03) for shape in
                              [(width, hidden), (width, hidden), (hidden, width)])
            out.case("mlp", [first, second])
            out.put("in.x", x), out.put("in.dy", dy)
            out.put("w.gate", gate), out.put("w.up", up), out.put("w.down", down)
            out.codes("x", first.row(x, first.x)), out.codes("dy", second.gradient(dy))
            g, u = first.forward(x, gate), first.forward(x, up)
            y = second.forward((silu(g) * u).float(), down)
            out.codes("kept gate", Codes(g.float(), (1, 128))), out.codes("kept up", Codes(u.float(), (1, 128)))
            g, u = kept(g.float()), kept(u.float())
            dh = second.backward(dy, down)
            dg, du = (d.float() for d in swiglu_backward(dh, g, u))
            out.codes("dg", first.gradient(dg)), out.codes("du", first.gradient(du))
            out.weights(first, second, gate, up, down)
            h = (silu(g) * u).float()
            read = x if first.x == EXACT else first.row(x, POWER).values.float()  # codes travel where these are powers
            out.results(y=y, dx=first.backward(dg, gate) + first.backward(du, up), gate=first.weight_gradient(dg, read),
                        up=first.weight_gradient(du, read), down=second.weight_gradient(dy, h))


def expert_cases(out, generator):
    report, mx = (Recipe("gate_up", x=POWER), Recipe("down", dy=POWER)), (MX, MX)
    cases = [(report, [0, 1, 127, 129, 70]), (report, [128, 0, 3, 64]), (mx, [0, 1, 31, 33, 70])]
    for (first, second), sizes in cases[:1] if fault else cases:
        rows, hidden, width, experts = sum(sizes), 140, 60, len(sizes)
        x, dy = random(generator, rows, hidden, size=0.3), random(generator, rows, hidden, size=1e-4)
        weight = torch.rand(rows, generator=generator)
        gate, up, down = (random(generator, experts, *shape, size=0.03) for shape in
                          [(width, hidden), (width, hidden), (hidden, width)])
        offsets = [sum(sizes[:e]) for e in range(experts + 1)]
        out.case("experts", [first, second], offsets=offsets)
        out.put("in.x", x), out.put("in.dy", dy), out.put("in.weight", weight)
        out.put("w.gate", gate), out.put("w.up", up), out.put("w.down", down)
        results = dict(y=torch.zeros(rows, hidden), dx=torch.zeros(rows, hidden), dweight=torch.zeros(rows),
                       gate=torch.zeros_like(gate), up=torch.zeros_like(up), down=torch.zeros_like(down))
        results = {name: t.double() for name, t in results.items()}
        before, coded = [], dict(zip(("kept gate", "kept up", "dg", "du"), ([], [], [], [])))
        read, read_dy = first.row(x, POWER).values.float(), second.gradient(dy).values.float()
        for e in range(experts):
            if sizes[e] == 0:
                continue
            at = slice(offsets[e], offsets[e + 1])
            g, u = first.forward(x[at], gate[e]), first.forward(x[at], up[e])
            results["y"][at] = second.forward((silu(g) * u).float(), down[e])
            coded["kept gate"].append(Codes(g.float(), (1, 128))), coded["kept up"].append(Codes(u.float(), (1, 128)))
            g, u = kept(g.float()), kept(u.float())
            dh, w = second.backward(dy[at], down[e]), weight[at].double()[:, None]
            h = silu(g) * u
            results["dweight"][at] = (dh * h).sum(-1)
            dg, du = (d.float() for d in swiglu_backward(w * dh, g, u))
            coded["dg"].append(first.gradient(dg)), coded["du"].append(first.gradient(du))
            results["dx"][at] = first.backward(dg, gate[e]) + first.backward(du, up[e])
            before.append(dg)  # gradients of the experts before
            over = torch.cat(before) if fault == "token tiles over two experts" else dg
            results["gate"][e] = (first.column(over, first.dy).values[-sizes[e]:].T @
                                  first.column(read[at], POWER).values)
            results["up"][e] = first.column(du, first.dy).values.T @ first.column(read[at], POWER).values
            results["down"][e] = (second.column(read_dy[at], POWER).values.T @
                                  second.column((w * h).float(), second.x).values)
        out.results(**results)
        for name, parts in coded.items():
            out.codes(name, together(parts))
        out.codes("x", first.row(x, POWER)), out.codes("dy", second.gradient(dy))
        out.weights(first, second, gate, up, down)


def write(directory):
    out = Writer()
    generator = torch.Generator().manual_seed(7)
    linear_cases(out, generator)
    mlp_cases(out, generator)
    expert_cases(out, generator)
    save_file(out.tensors, os.path.join(directory, "fp8_layers.safetensors"))
    with open(os.path.join(directory, "fp8_layers.json"), "w") as file:
        json.dump(out.cases, file)


def main():
    global fault
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("--faults", action="store_true")
    options = parser.parse_args()
    if not options.faults:
        return write(options.directory)
    for number, fault in enumerate(FAULTS):
        directory = os.path.join(options.directory, str(number))
        os.makedirs(directory)
        write(directory)
        with open(os.path.join(directory, "fault.txt"), "w") as file:
            file.write(fault)


if __name__ == "__main__":
    main()
