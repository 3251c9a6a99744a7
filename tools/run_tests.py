#!/usr/bin/env python3
"""Runs ctest label by label and sums up: time and counts per label, the instruction sets executed, then the last line
`N passed, N failed, N skipped`. Exit code 1 when a test failed or none ran.

usage: run_tests.py BUILD_DIR [--labels fast,slow,ranks,peer,cuda]    (label proof only where it is named: make proof)
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

LABELS = ["fast", "slow", "ranks", "peer", "cuda"]
ONLY_WHEN_NAMED = ["proof"]


def counts(junit):
    """(passed names, failed names, skipped names) of one ctest run."""
    result = {"passed": [], "failed": [], "skipped": []}
    for case in ElementTree.parse(junit).getroot().iter("testcase"):
        status = case.get("status", "")
        if case.find("failure") is not None or case.find("error") is not None or status == "fail":
            kind = "failed"
        elif case.find("skipped") is not None or status in ("notrun", "disabled"):
            kind = "skipped"
        else:
            kind = "passed"
        result[kind].append(case.get("name"))
    return result


def show_what_matters(command, label):
    """Runs ctest; shows a count now and then, everything of tests that fail, nothing of those that pass. Its exit
    code."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, errors="replace")
    shown = time.monotonic()
    for line in process.stdout:
        done = re.match(r"\s*(\d+)/(\d+) Test .*(Passed|Skipped|Not Run)", line)
        if not done:
            if not re.match(r"\s*(Start\s+\d+:|Internal ctest|Test project|Connected|\S+\s+=.*sec\*proc|Label "
                            r"Time|Total Test|$)", line):
                print(line, end="", flush=True)
        elif time.monotonic() - shown > 10:
            shown = time.monotonic()
            print(f"{label}: {done.group(1)} of {done.group(2)} done", flush=True)
    return process.wait()


def run_label(build, label, others):
    """Runs one label's tests (label None: those that carry none of `others`)."""
    junit = build / "Testing" / f"{label or 'unlabelled'}.xml"
    junit.parent.mkdir(parents=True, exist_ok=True)
    junit.unlink(missing_ok=True)
    select = ["-L", f"^{label}$"] if label else ["-LE", "^(" + "|".join(others) + ")$"]
    jobs = len(os.sched_getaffinity(0)) if label not in ("slow", "ranks") else 1
    command = ["ctest", "--test-dir", str(build), "--output-junit", str(junit.resolve()), "--output-on-failure",
               "--no-tests=ignore", "-j", str(jobs)] + select
    start = time.monotonic()
    status = show_what_matters(command, label or "other")
    seconds = time.monotonic() - start
    if not junit.exists():
        return {"passed": [], "failed": ["ctest itself"] if status else [], "skipped": []}, seconds
    result = counts(junit)
    if status != 0 and not result["failed"]:
        result["failed"].append(f"ctest ended with {status}")
    return result, seconds


def instruction_sets(build):
    try:
        text = subprocess.run([str(build / "hadal"), "version", "--json"], capture_output=True, text=True,
                              check=True).stdout
        return [n for n, s in json.loads(text)["instruction_sets"].items() if s["compiled"] and s["runs"]], [
            n for n, s in json.loads(text)["instruction_sets"].items() if s["compiled"] and not s["runs"]]
    except (OSError, subprocess.CalledProcessError, ValueError, KeyError) as error:
        return [f"unknown ({error})"], []


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--labels", default="", help="comma-separated; all by default")
    options = parser.parse_args()
    labels = options.labels.split(",") if options.labels else LABELS + [None]
    total = {"passed": [], "failed": [], "skipped": []}
    rows = []
    for label in labels:
        result, seconds = run_label(options.build, label, LABELS + ONLY_WHEN_NAMED)
        for kind, names in result.items():
            total[kind] += names
        if any(result.values()):
            rows.append((label or "other", *(len(result[k]) for k in ("passed", "failed", "skipped")), seconds))
    print("\nlabel    passed  failed  skipped     time")
    for name, passed, failed, skipped, seconds in rows:
        print(f"{name:<8} {passed:>6}  {failed:>6}  {skipped:>7}  {seconds:>6.1f}s")
    for name in total["skipped"]:
        print(f"skipped: {name}")
    for name in total["failed"]:
        print(f"FAILED: {name}")
    ran, compiled_only = instruction_sets(options.build)
    print(f"instruction sets executed: {', '.join(ran)}"
          + (f"; compiled but not executed (this CPU lacks them): {', '.join(compiled_only)}" if compiled_only else ""))
    print(f"{len(total['passed'])} passed, {len(total['failed'])} failed, {len(total['skipped'])} skipped", flush=True)
    return 1 if total["failed"] or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
