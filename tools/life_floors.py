#!/usr/bin/env python3
"""What the walk in small (configs/life.toml) must reach, against what its run keeps of its evaluations.
usage: life_floors.py RUN
Prints every figure beside its floor; ends with 1, naming them, where some are missed or were never asked for."""
import json
import math
import pathlib
import sys

INTERVAL = 1.96  # standard errors on either side of a figure: 95 %
ROUNDING = 1e-9  # a mean that is the floor reaches it


class Missing(Exception):
    pass


def record(run, phase, task):
    path = run / phase / "evals" / f"{task}.json"
    if not path.is_file():
        raise Missing(f"{task} was not asked of {phase}")
    return json.loads(path.read_text())


def metric(run, phase, task, name):
    for one in record(run, phase, task)["metrics"]:
        if one["name"] == name:
            return one["value"], one["error"] or 0.0
    raise Missing(f"{task} of {phase} has no {name}")


def needle(run, length):
    """Share of needles that are the likeliest of 16, mean over depths."""
    for grid in record(run, "longest", "needle")["grids"]:
        if "likeliest of 16" in grid["title"] and str(length) in grid["rows"]:
            row, columns = grid["rows"].index(str(length)), len(grid["columns"])
            return sum(grid["values"][row * columns:(row + 1) * columns]) / columns
    raise Missing(f"needle was not asked of longest at {length}")


def floors(run):
    """Name, what was found, in words what is wanted, and whether it is so."""
    for length, floor in ((128, 0.9), (1024, 0.9), (4096, 0.8)):
        yield (f"needle at {length}, mean over depths", lambda n=length, f=floor: (
            f"{needle(run, n):.3f}", f">= {f}", needle(run, n) >= f - ROUNDING))

    def positions():
        near, near_error = metric(run, "longest", "positions", "bits_512_1023")
        far, far_error = metric(run, "longest", "positions", "bits_2048_4095")
        room = INTERVAL * math.hypot(near_error, far_error)
        return f"{far:.4f}", f"<= {near:.4f} (at 512-1,023) + {room:.4f}", far <= near + room

    yield "bits per token at 2,048-4,095", positions
    for name, phase, what, good, wanted in (
            ("word problems before fine-tuning", "longest", "exact_match", lambda x: x <= 0.05, "<= 0.05"),
            ("word problems after it", "chat", "exact_match", lambda x: x >= 0.85, ">= 0.85"),
            ("answers well-formed and ended", "chat", "well_formed", lambda x: x >= 0.99, ">= 0.99")):
        def asked(phase=phase, what=what, good=good, wanted=wanted):
            value = metric(run, phase, "word_problems", what)[0]
            return f"{value:.3f}", wanted, good(value)
        yield name, asked


def main(run):
    missed = []
    for name, look in floors(pathlib.Path(run)):
        try:
            found, wanted, reached = look()
        except Missing as why:
            found, wanted, reached = "-", str(why), False
        print(f"{'reached' if reached else 'MISSED ':8} {name}: {found}, wanted {wanted}")
        if not reached:
            missed.append(name)
    if missed:
        print(f"life_floors: missed: {'; '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
