#!/usr/bin/env python3
"""Writes into docs/gpu.md, from a report of the device check, where each kernel has run and at what share of the card's
peak: the last two columns of the table of kernels. A row counts as run where all steps that cover it passed: the bits
of every kernel, the tests of kernels, the tests of ops. A step that failed stands there by its name.

usage: device_table.py REPORT.json [DOCS]      default docs/gpu.md
"""
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
COVERING = ("bits", "kernels", "ops")
# Begin of a row, and the lines of the bench that are its.
MEASURED = {"gemm on tensor cores": r"product BF16 ", "gemm on CUDA cores": r"product F32 ",
            "attention forward": r"attention "}


def where_it_ran(report):
    status = {step["name"]: step["status"] for step in report["steps"]}
    absent = [name for name in COVERING if name not in status or status[name] == "skipped"]
    if absent:
        return f"never whole ({', '.join(absent)} skipped)"
    failed = [name for name in COVERING if status[name] != "passed"]
    place = f"{report.get('card', 'a card without a name')}, {report['date'].split()[0]}"
    return f"{place}: {', '.join(failed)} failed" if failed else place


def best_share(report, pattern):
    shares = [line["share"] for line in report.get("bench", []) if re.match(pattern, line["name"]) and "share" in line]
    return f"{100 * max(shares):.0f} %" if shares else "-"


def with_report(text, report):
    """The document with the columns filled in."""
    lines, inside, rows = text.split("\n"), False, 0
    for i, line in enumerate(lines):
        if line.startswith("| kernel | compiled for sm_90a |"):
            inside = True
            continue
        inside = inside and line.startswith("|")
        if not inside or line.startswith("|---"):
            continue
        cells = line.strip("|").split("|")
        share = "-"
        for begin, pattern in MEASURED.items():
            if cells[0].strip().startswith(begin):
                share = best_share(report, pattern)
        lines[i] = "|" + "|".join([*cells[:-2], f" {where_it_ran(report)} ", f" {share} "]) + "|"
        rows += 1
    if rows == 0:
        sys.exit("device_table: there is no table of kernels")
    return "\n".join(lines)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    docs = pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else ROOT / "docs" / "gpu.md"
    docs.write_text(with_report(docs.read_text(), json.loads(pathlib.Path(sys.argv[1]).read_text())))


if __name__ == "__main__":
    main()
