"""AdamW with decoupled decay, its exemptions, the global gradient clip and the moving average of weights, in plain
double precision (§2.3). As in model.py, what is easy to get wrong is a method that the seeded faults below get
wrong."""
import math

import torch

from model import is_norm


def is_trained(name):
    return not name.endswith("moe.bias")  # the selection bias is moved by its own rule


class AdamW:
    def __init__(self, weights, beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1, clip=1.0, ema_decay=0.0):
        self.beta1, self.beta2, self.eps, self.weight_decay = beta1, beta2, eps, weight_decay
        self.clip, self.ema_decay = clip, ema_decay
        self.names = [n for n in weights if self.is_trained(n)]
        self.m = {n: torch.zeros_like(weights[n]) for n in self.names}
        self.v = {n: torch.zeros_like(weights[n]) for n in self.names}
        self.ema = {n: weights[n].clone() for n in self.names}
        self.step_count = 0

    def is_trained(self, name):
        return is_trained(name)

    def decay_of(self, name):
        return 0.0 if is_norm(name) else self.weight_decay

    def norm(self, gradients):
        return math.sqrt(sum(float((gradients[n] ** 2).sum()) for n in self.names))

    def clip_factor(self, gradients, name):
        norm = self.norm(gradients)
        return 1.0 if self.clip <= 0 or norm <= self.clip else self.clip / norm

    def corrected(self, name):
        return self.m[name] / (1 - self.beta1 ** self.step_count), self.v[name] / (1 - self.beta2 ** self.step_count)

    def updated(self, weight, m_hat, v_hat, decay, lr):
        return weight - lr * (m_hat / (v_hat.sqrt() + self.eps) + decay * weight)

    def step(self, weights, gradients, lr):
        """Changes the dictionary of weights; returns the gradient norm before clipping."""
        self.step_count += 1
        for name in self.names:
            g = gradients[name] * self.clip_factor(gradients, name)
            self.m[name] = self.beta1 * self.m[name] + (1 - self.beta1) * g
            self.v[name] = self.beta2 * self.v[name] + (1 - self.beta2) * g * g
            m_hat, v_hat = self.corrected(name)
            weights[name] = self.updated(weights[name], m_hat, v_hat, self.decay_of(name), lr)
            self.ema[name] = self.ema_decay * self.ema[name] + (1 - self.ema_decay) * weights[name]
        return self.norm(gradients)


class DecaysNorms(AdamW):
    """weight decay reaches the norms"""
    def decay_of(self, name):
        return self.weight_decay


class CoupledDecay(AdamW):
    """decay added to the gradient's direction before the division (L2, not decoupled)"""
    def updated(self, weight, m_hat, v_hat, decay, lr):
        return weight - lr * (m_hat + decay * weight) / (v_hat.sqrt() + self.eps)


class ClipsEachTensor(AdamW):
    """clipping by each tensor's own norm"""
    def clip_factor(self, gradients, name):
        norm = float(gradients[name].norm())
        return 1.0 if norm <= self.clip else self.clip / norm


class NoBiasCorrection(AdamW):
    """moments without the correction for their start at zero"""
    def corrected(self, name):
        return self.m[name], self.v[name]


class EpsInsideRoot(AdamW):
    """epsilon inside the square root"""
    def updated(self, weight, m_hat, v_hat, decay, lr):
        return weight - lr * (m_hat / (v_hat + self.eps).sqrt() + decay * weight)


class LateEma(AdamW):
    """moving average taken with the roles of its two factors exchanged"""
    def step(self, weights, gradients, lr):
        kept, self.ema_decay = self.ema_decay, 1 - self.ema_decay
        norm = super().step(weights, gradients, lr)
        self.ema_decay = kept
        return norm


class NormWithoutExperts(AdamW):
    """global norm leaves the routed experts out"""
    def norm(self, gradients):
        return math.sqrt(sum(float((gradients[n] ** 2).sum()) for n in self.names if ".experts." not in n))


FAULTS = [DecaysNorms, CoupledDecay, ClipsEachTensor, NoBiasCorrection, EpsInsideRoot, LateEma, NormWithoutExperts]
