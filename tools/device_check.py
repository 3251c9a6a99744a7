#!/usr/bin/env python3
"""Proves on a machine with a GPU, in a few minutes, what the emulated device showed without one, and measures it.

Each step runs under a limit of its own, the most important first; results are written to OUT/report.json and
OUT/report.md as they come: status, seconds, the failing cases, and the command that repeats them. What does not fit
into the time is named as skipped. Clocks and settings of the card stay as they are.

The programs come from a portable build (tools/portable.py) beside this checkout whose recorded hash of the sources is
that of the files here; else the parts for CUDA are built from them.

usage: device_check.py [--seconds 480] [--only STEP ...] [--programs FOLDER] [--train-steps N] OUT
Exit code 0: nothing failed; 1: something did, see the report; 2: nothing could be run.
"""
import argparse
import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import portable  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD_LIMIT = 200  # seconds
TAIL = 6000        # characters of a step's output that the report keeps


@dataclasses.dataclass
class Step:
    name: str
    what: str               # a sentence for the report
    command: list           # {programs} and {out} are filled in
    limit: float            # seconds
    needs: list = dataclasses.field(default_factory=list)  # programs of the machine; without one the step is skipped
    says: str = ""          # what its output must hold


def tests(program, pattern):
    return ["{programs}/" + program, "--gtest_filter=" + pattern]


# Under a tool of compute-sanitizer everything takes many times as long: one test or a few of each kind of kernel, rows,
# products, groups, attention, routing; and the products on tensor cores.
SANITIZED = {"ops_device_tests": "RmsNorm.*:Linear.*:CudaGroups.*:CudaAttention.HasTheBits*:Route.Ties*:"
                                 "RouteBackward.*:DispatchPlan.*",
             "kernels_device_tests": "CudaGemm.HasTheBitsOfTensorCores*:CudaGemm.GivesGroups*:*CudaProbes*"}
SANITIZER = "compute-sanitizer"
CUDA_PLACES = "/usr/local/cuda/bin"  # beside PATH


def sanitizers():
    steps = []
    for tool, what in (("memcheck", "accesses outside memory"), ("racecheck", "races in shared memory"),
                       ("synccheck", "barriers that not all reach"),
                       ("initcheck", "memory that is read before it is written")):
        for program, pattern in SANITIZED.items():
            name = tool + ("" if program.startswith("ops") else "-tensor")
            steps.append(Step(name, what, [SANITIZER, "--tool", tool, "--target-processes", "all",
                                           "--error-exitcode", "9", *tests(program, pattern)], 60, [SANITIZER]))
    return steps


def find_program(name):
    """Its path, or None; in PATH, or where CUDA installs itself."""
    return shutil.which(name) or shutil.which(name, path=CUDA_PLACES)


# The seconds are upper bounds; their sum is more than a session of device time, so the order matters.
STEPS = [
    Step("probe", "the card, its driver and what is free", ["{programs}/hadal", "version", "--json"], 60,
         says='"device": "cuda:0"'),
    Step("bits", "the bits of every kernel are the emulator's", tests("train_device_tests", "CudaBits.AreThose*"), 60),
    Step("tensors", "memory, copies, streams", tests("tensor_device_tests", "Cuda*"), 60),
    Step("kernels", "the tests of kernels", tests("kernels_device_tests", "*"), 120),
    Step("ops", "the tests of ops, beside the CPU's", tests("ops_device_tests", "*"), 180),
    Step("laws", "whole training steps: AVX2's bits, waits, faults",
         tests("train_device_tests", "CudaStep.*:CudaRun.*"), 120),
    Step("train", "a minute of training, and generation from it",
         ["sh", str(ROOT / "tools/device_train.sh"), "{programs}/hadal", "{out}/run", "{train_steps}"], 120),
    Step("bench", "products and attention beside PyTorch's",
         [sys.executable, str(ROOT / "bench/cuda_bench.py"), "{programs}"], 90),
    *sanitizers(),
]


def run_limited(command, limit, log):
    """(exit code or None where time ran out, seconds); all that the command has started ends with it."""
    begin = time.monotonic()
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                   start_new_session=True, cwd=ROOT)
        try:
            code = process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            code = None
        try:  # children of a step that ended or did not
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
    return code, time.monotonic() - begin


def counts(text):
    """What a test program says of itself."""
    found = {}
    for word in ("PASSED", "FAILED", "SKIPPED"):
        numbers = re.findall(rf"\[\s+{word}\s+\] (\d+) test", text)
        if numbers:
            found[word.lower()] = int(numbers[-1])
    return found


def nothing_ran(step, text, tests_said):
    """Why a step that ended well shows nothing; empty: it does."""
    if step.says not in text:
        return f"it says nothing of {step.says}"
    if tests_said.get("passed") == 0:
        return f"all {tests_said.get('skipped', 0)} tests were skipped: there is no device"
    return ""


def failing_cases(text):
    return sorted(set(re.findall(r"^\[  FAILED  \] (\S+)(?:, where .*)?(?: \(\d+ ms\))?$", text, re.M))
                  - {"1", "2", "3"})


def facts_of(step, text):
    """What a report keeps of a step's output beside its status: the card, and the lines of the bench."""
    if step.name == "probe":
        found = re.search(r'"device": "cuda:0",\s*"name": "([^"]*)",\s*"driver": "([^"]*)"', text)
        return {"card": found.group(1), "driver": found.group(2)} if found else {}
    if step.name == "bench":
        lines = []
        for row in re.findall(r"^\| ((?:product|attention) .*) \|$", text, re.M):
            name, speed, share = [cell.strip() for cell in row.split("|")][:3]
            lines.append({"name": name, "tflops": float(speed),
                          **({"share": float(share.rstrip("%")) / 100} if share else {})})
        return {"bench": lines}
    return {}


class Report:
    def __init__(self, out, facts):
        self.out, self.facts, self.steps = pathlib.Path(out), facts, []

    def add(self, **entry):
        self.steps.append(entry)
        self.write()
        print(f"{entry['name']:<10} {entry['status']:<9} {entry.get('seconds', 0):6.1f} s  {entry.get('why', '')}",
              flush=True)

    def failed(self):
        return [step for step in self.steps if step["status"] not in ("passed", "skipped")]

    def write(self):
        (self.out / "report.json").write_text(json.dumps({**self.facts, "steps": self.steps}, indent=1) + "\n")
        lines = ["# Device check", ""]
        lines += [f"- {key}: {value}" for key, value in self.facts.items() if key != "bench"]
        lines += ["", "| step | what | status | seconds | tests |", "|---|---|---|---|---|"]
        for step in self.steps:
            tests_said = ", ".join(f"{n} {word}" for word, n in step.get("tests", {}).items())
            lines.append(f"| {step['name']} | {step['what']} | {step['status']} | {step.get('seconds', 0):.1f} | "
                         f"{tests_said} |")
        for step in self.steps:
            if step["status"] == "passed":
                continue
            lines += ["", f"## {step['name']}: {step['status']}", "", step.get("why", "")]
            lines += [f"- {case}" for case in step.get("cases", [])]
            if step.get("repeat"):
                lines += ["", "Repeat: `" + step["repeat"] + "`"]
            if step.get("tail"):
                lines += ["", "```", step["tail"], "```"]
        (self.out / "report.md").write_text("\n".join(lines) + "\n")


def run_steps(steps, programs, report, seconds, only=(), train_steps=300):
    """Runs what fits into the time. Returns whether nothing failed."""
    end = time.monotonic() + seconds
    for step in steps:
        if only and step.name not in only:
            continue
        entry = {"name": step.name, "what": step.what}
        missing = [need for need in step.needs if find_program(need) is None]
        left = end - time.monotonic()
        if missing:
            report.add(**entry, status="skipped", why=f"{', '.join(missing)} is not on this machine")
            continue
        if left < 1:
            report.add(**entry, status="skipped", why="the time is used up")
            continue
        command = [find_program(word) if word in step.needs else
                   word.format(programs=programs, out=report.out, train_steps=train_steps) for word in step.command]
        log = report.out / f"{step.name}.log"
        limit = min(step.limit, left)
        try:
            code, took = run_limited(command, limit, log)
        except OSError as error:
            report.add(**entry, status="failed", why=f"{command[0]}: {error.strerror}")
            continue
        text = log.read_text(errors="replace")
        entry.update(seconds=round(took, 1), tests=counts(text))
        report.facts.update(facts_of(step, text))
        without = nothing_ran(step, text, entry["tests"]) if code == 0 else ""
        if code == 0 and not without:
            report.add(**entry, status="passed")
            continue
        if without:
            status, why = "failed", without
        elif code is None:
            status, why = "timed out", f"did not end within {limit:.0f} seconds"
        elif code < 0:
            status, why = "crashed", f"ended by {signal.Signals(-code).name}"
        else:
            status, why = "failed", f"exit code {code}"
        report.add(**entry, status=status, why=why, cases=failing_cases(text), repeat=" ".join(command),
                   tail=text[-TAIL:])
    return not report.failed()


def build(out):
    """The folder of freshly built programs, or (None, why)."""
    for tool in ("cmake", "ninja", "g++"):
        if shutil.which(tool) is None:
            return None, f"no portable build with these sources, and no {tool} to build one"
    folder = ROOT / "build" / "cuda"
    for command in (["cmake", "--preset", "cuda"], portable.build_command(folder)):
        code, _ = run_limited(command, BUILD_LIMIT, out / "build.log")
        if code != 0:
            return None, (f"'{' '.join(command)}' " + ("took too long" if code is None else f"ended with {code}") +
                          f"; see {out / 'build.log'}")
    return portable.gather(folder, out / "programs"), None


def programs_for(out, given):
    if given:
        return pathlib.Path(given), None
    ready = ROOT / "build" / "portable"
    if (ready / portable.HASH).exists() and (ready / portable.HASH).read_text().strip() == portable.source_hash():
        return ready, None
    return build(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=480, help="time for all steps")
    parser.add_argument("--only", action="append", default=[], help="a step to run, repeatable")
    parser.add_argument("--programs", help="a folder with the programs, as tools/portable.py makes it")
    parser.add_argument("--train-steps", type=int, default=300, help="of the training run")
    parser.add_argument("out", help="folder of the report")
    options = parser.parse_args()
    names = [step.name for step in STEPS]
    for name in options.only:
        if name not in names:
            parser.error(f"there is no step '{name}'; there are {', '.join(names)}")
    out = pathlib.Path(options.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    programs, why = programs_for(out, options.programs)
    if programs is None:
        print(f"device_check: {why}", file=sys.stderr)
        return 2
    report = Report(out, {"date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
                          "sources": portable.source_hash()})
    good = run_steps(STEPS, programs, report, options.seconds - (time.monotonic() - begin), options.only,
                     options.train_steps)
    print(f"report: {out / 'report.md'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
