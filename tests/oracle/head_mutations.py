"""Seeded faults of Llama's attention, which mutations.py adds to its own."""
import torch

from model import Model, mscale


def head_mutants(mutant, has):
    """Registers them with mutations.py's `mutant`, for the cases that its `has` finds."""
    def in_heads(**wanted):
        return has(attention=lambda kind: kind in ("mha", "gqa"), **wanted)

    @mutant("heads_of_another_group", "house", "query heads take key/value heads in turn, not in groups",
            has(attention="gqa", n_kv_heads=lambda g: g and g > 1, n_heads=lambda h: h > 3))
    class HeadsOfAnotherGroup(Model):
        def kv_head_of(self, head):
            return head % self.c.kv_heads()

    @mutant("heads_rope_half_layout", "6", "Llama's pairs (i, i + d/2) without permuting its rows",
            in_heads(head_dim=lambda d: d >= 4))
    class HeadsRopeHalfLayout(Model):
        def rotate(self, x, cos, sin):
            a, b = x.chunk(2, dim=-1)
            return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)

    @mutant("heads_rotated_values", "house", "values rotated like keys", in_heads())
    class HeadsRotatedValues(Model):
        def rotated_value(self, v, cos, sin):
            return self.rotate(v, cos, sin)

    @mutant("heads_scale_with_mscale", "7", "Llama's softmax scale takes the latent one's mscale squared",
            in_heads(yarn=lambda y: y and y["mscale_all_dim"] == 1.0))
    class HeadsScaleWithMscale(Model):
        def softmax_scale(self, length):
            return super().softmax_scale(length) * mscale(self.c.yarn["factor"], 1.0) ** 2
