"""Writes what PyTorch makes of numbers in E4M3 for the C++ tests, as plain little-endian arrays:
DIR/decoded.f32 the values of the 256 codes; DIR/numbers.f32 and DIR/numbers.u8 every BF16 pattern, every code, every
midpoint of neighbouring codes and the FP32 numbers beside it, of both signs, and their codes; DIR/tiles.f32 every
finite BF16 number in rows of 128, 16 binades to a row, and for RULE exact and power_of_two their DIR/RULE.u8 codes and
DIR/RULE.f32 scales, one a row. Casts are torch's own after clamping (its cast alone gives NaN beyond the largest).

usage: e4m3_codes.py DIR
"""
import os
import sys

import torch

from fp8_layers import EXACT, POWER, Codes


def bf16_numbers():
    return (torch.arange(1 << 16, dtype=torch.int32) << 16).view(torch.float32)


def borders(decoded):
    codes = decoded[:127]  # ascending from 0 to the largest
    middles = (codes[:-1] + codes[1:]) / 2
    beside = [torch.nextafter(middles, torch.full_like(middles, to)) for to in (-torch.inf, torch.inf)]
    positive = torch.cat([codes, middles, *beside])
    return torch.cat([positive, -positive])


def rows_of_tiles():
    """[512, 128]: sign, sixteen of the binades, eight of the 128 fractions; what is not finite becomes zero."""
    x = bf16_numbers().nan_to_num(0, 0, 0).view(2, 16, 16, 16, 8)  # sign, binades, binade, fractions, fraction
    return x.permute(0, 1, 3, 2, 4).reshape(512, 128)


def main():
    def write(name, x):
        with open(os.path.join(sys.argv[1], name), "wb") as file:
            file.write(x.contiguous().numpy().tobytes())

    decoded = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float()
    numbers = torch.cat([bf16_numbers(), borders(decoded)])
    write("decoded.f32", decoded), write("numbers.f32", numbers)
    write("numbers.u8", torch.clamp(numbers, -448, 448).to(torch.float8_e4m3fn).view(torch.uint8))
    tiles = rows_of_tiles()
    write("tiles.f32", tiles)
    for rule in (EXACT, POWER):
        made = Codes(tiles, (1, 128), rule)
        write(rule + ".u8", made.codes.view(torch.uint8)), write(rule + ".f32", made.scales.float())


if __name__ == "__main__":
    main()
