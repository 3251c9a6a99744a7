"""Writes what Hopper's tensor cores make of FP8 products for the C++ tests: DIR/tensor_core.safetensors with
  steps.a, steps.b [n, 32] u8 codes of E4M3, steps.c, steps.d [n] i32: the accumulator's bits before and after
  product.a, product.b [m, K] and [n, K] u8, product.sa, product.sb F32 scales of chunks of 128,
  product.promoted, product.unpromoted [m, n] i32: bits of the FP32 results
Nothing of ours is used: codes are read by torch, and the rules of the step are told in Python's integers: every product
and c in units of 2^(M - 13), M the largest exponent, cut off towards zero one by one, added, and cut off towards zero
to 13 bits behind the leading one.

usage: tensor_core.py DIR
"""
import math
import os
import sys

import numpy
import torch
from safetensors.numpy import save_file

NAN = 0x7FFFFFFF
VALUES = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).double().numpy()


def exponent_of(code):
    """Of a code: subnormals have the smallest normal one, zeros count as -126."""
    if code & 0x7F == 0:
        return -126
    return max(math.frexp(VALUES[code])[1] - 1, -6)


EXPONENTS = [exponent_of(c) if not numpy.isnan(VALUES[c]) else None for c in range(256)]
# A value as an integer in units of 2^-9.
UNITS = [None if numpy.isnan(v) else int(v * 512) for v in VALUES]


def cut_off(x, shift):
    """x * 2^shift, cut off towards zero."""
    size = abs(x) << shift if shift >= 0 else abs(x) >> -shift
    return size if x >= 0 else -size


def step(c, a, b):
    """c: a Python float that FP32 holds; a, b: 32 codes."""
    if math.isnan(c) or any(EXPONENTS[x] is None for x in a) or any(EXPONENTS[x] is None for x in b):
        return float("nan")
    if math.isinf(c):
        return c
    largest = -126 if c == 0 else max(math.frexp(c)[1] - 1, -126)
    largest = max([largest] + [EXPONENTS[x] + EXPONENTS[y] for x, y in zip(a, b)])
    unit = largest - 13
    total = cut_off(int(math.ldexp(c, 149)), -149 - unit)
    for x, y in zip(a, b):
        total += cut_off(UNITS[x] * UNITS[y], -18 - unit)
    if total == 0:
        return 0.0
    last = max(abs(total).bit_length() - 1 + unit, -126) - 13  # nothing below 2^-126 is normalised
    return math.ldexp(cut_off(total, unit - last), last)


def bits(values):
    found = numpy.array(values, dtype=numpy.float32).view(numpy.int32).copy()
    found[numpy.isnan(numpy.array(values, dtype=numpy.float32))] = NAN
    return found


def random_steps(random, n):
    a = random.integers(0, 256, (n, 32)).astype(numpy.uint8)
    b = random.integers(0, 256, (n, 32)).astype(numpy.uint8)
    c = random.normal(size=n).astype(numpy.float32)
    kind = numpy.arange(n) % 5
    near = (random.integers(0x28, 0x48, (n, 32)) | random.integers(0, 2, (n, 32)) << 7).astype(numpy.uint8)
    small = (random.integers(0, 0x10, (n, 32)) | random.integers(0, 2, (n, 32)) << 7).astype(numpy.uint8)
    for codes, other in ((a, near), (b, small)):  # subnormals beside ordinary numbers
        codes[kind == 1] = other[kind == 1]
    a[kind == 2], b[kind == 2] = near[kind == 2], near[::-1][kind == 2]
    a[kind == 3], b[kind == 3] = small[kind == 3], small[::-1][kind == 3]
    for codes in (a, b):
        nans = codes & 0x7F == 0x7F
        codes[nans & (random.random(codes.shape) > 0.02)] = 0x38  # a NaN here and there
        codes[random.random(codes.shape) < 0.1] = 0
        codes[kind == 4] &= 0xF7
    c *= numpy.exp2(random.integers(-24, 24, n)).astype(numpy.float32)
    c[random.random(n) < 0.2] = 0
    c[:3] = numpy.float32("inf"), numpy.float32("-inf"), numpy.float32("nan")
    c[3:200] = (random.integers(0, 2**24, 197) * 2.0**-149).astype(numpy.float32)  # subnormal, and just above
    return a, b, c


def chain(a, b, sa, sb, promoted):
    total, c, before = numpy.float32(0), 0.0, None
    for chunk in range(0, len(a), 128):
        scale = float(sa[chunk // 128]) * float(sb[chunk // 128])  # exact in double precision
        if promoted:
            c = 0.0
        elif before is not None and before != scale:
            c = float(numpy.float32(c * (before / scale)))
        before = scale
        for k in range(chunk, min(len(a), chunk + 128), 32):
            left, right = list(a[k:k + 32]), list(b[k:k + 32])
            c = step(c, left + [0] * (32 - len(left)), right + [0] * (32 - len(right)))
        if promoted or chunk + 128 >= len(a):
            together = numpy.float32(sa[chunk // 128]) * numpy.float32(sb[chunk // 128])
            total = numpy.float32(float(total) + float(together) * c)
    return total


def main():
    random = numpy.random.default_rng(11)
    a, b, c = random_steps(random, 100_000)
    d = [step(float(z), list(x), list(y)) for z, x, y in zip(c, a.tolist(), b.tolist())]
    tensors = {"steps.a": a, "steps.b": b, "steps.c": c.view(numpy.int32), "steps.d": bits(d)}
    m, n, depth = 5, 6, 900
    left, right = random.integers(0, 0x7F, (m, depth)), random.integers(0, 0x7F, (n, depth))
    left, right = (x.astype(numpy.uint8) | (random.integers(0, 2, x.shape) << 7).astype(numpy.uint8)
                   for x in (left, right))
    sa, sb = (numpy.exp(random.normal(size=(rows, -(-depth // 128)))).astype(numpy.float32) for rows in (m, n))
    tensors |= {"product.a": left, "product.b": right, "product.sa": sa, "product.sb": sb}
    for name, promoted in (("promoted", True), ("unpromoted", False)):
        sums = [[chain(row.tolist(), column.tolist(), of_row, of_column, promoted)
                 for column, of_column in zip(right, sb)] for row, of_row in zip(left, sa)]
        tensors["product." + name] = bits(sums)
    save_file(tensors, os.path.join(sys.argv[1], "tensor_core.safetensors"))


if __name__ == "__main__":
    main()
