"""AdamW with decoupled decay, its exemptions and the global gradient clip, in plain double precision (§2.3)."""
import math

import torch

from model import is_norm


def is_trained(name):
    return not name.endswith("moe.bias")  # the selection bias is moved by its own rule


def gradient_norm(gradients):
    return math.sqrt(sum(float((g * g).sum()) for n, g in gradients.items() if is_trained(n)))


def clip_factor(norm, clip):
    return 1.0 if clip <= 0 or norm <= clip else clip / norm


def decay_of(name, weight_decay):
    return 0.0 if is_norm(name) else weight_decay


class AdamW:
    def __init__(self, weights, beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1, clip=1.0):
        self.beta1, self.beta2, self.eps, self.weight_decay, self.clip = beta1, beta2, eps, weight_decay, clip
        self.m = {n: torch.zeros_like(w) for n, w in weights.items() if is_trained(n)}
        self.v = {n: torch.zeros_like(w) for n, w in weights.items() if is_trained(n)}
        self.step_count = 0

    def step(self, weights, gradients, lr):
        """Changes weights in place; returns the gradient norm before clipping."""
        self.step_count += 1
        norm = gradient_norm(gradients)
        factor = clip_factor(norm, self.clip)
        for name in self.m:
            g = gradients[name] * factor
            self.m[name] = self.beta1 * self.m[name] + (1 - self.beta1) * g
            self.v[name] = self.beta2 * self.v[name] + (1 - self.beta2) * g * g
            m_hat = self.m[name] / (1 - self.beta1 ** self.step_count)
            v_hat = self.v[name] / (1 - self.beta2 ** self.step_count)
            decay = decay_of(name, self.weight_decay)
            weights[name] -= lr * (m_hat / (v_hat.sqrt() + self.eps) + decay * weights[name])
        return norm
