#!/usr/bin/env python3
"""The device check reports what passed, failed, crashed or hung, ends in time whatever a step does, and passes on the
emulated device.

usage: device_check_test.py BUILD
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import device_check  # noqa: E402
import device_table  # noqa: E402
import portable  # noqa: E402
from device_check import Report, Step, run_steps  # noqa: E402

BUILD = None


class DeviceCheck(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.out = pathlib.Path(self.folder.name) / "out"
        self.out.mkdir()

    def tearDown(self):
        self.folder.cleanup()

    def run_all(self, steps, seconds=60):
        report = Report(self.out, {"date": "today"})
        good = run_steps(steps, "nowhere", report, seconds)
        self.text = (self.out / "report.md").read_text()
        return good, {step["name"]: step for step in json.loads((self.out / "report.json").read_text())["steps"]}

    def test_says_what_became_of_each_step(self):
        failing = "echo '[  FAILED  ] Sum.IsRight (3 ms)'; echo '[  FAILED  ] 1 test, listed below:'; exit 1"
        good, steps = self.run_all([
            Step("good", "fine", ["sh", "-c", "echo '[  PASSED  ] 7 tests.'"], 20),
            Step("bad", "wrong", ["sh", "-c", failing], 20),
            Step("dead", "crashes", ["sh", "-c", "kill -SEGV $$"], 20),
            Step("absent", "is not there", ["/no/such/program"], 20),
            Step("tool", "lacks", ["true"], 20, ["no-such-tool"])])
        self.assertFalse(good)
        self.assertEqual({name: step["status"] for name, step in steps.items()},
                         {"good": "passed", "bad": "failed", "dead": "crashed", "absent": "failed", "tool": "skipped"})
        self.assertEqual(steps["good"]["tests"], {"passed": 7})
        self.assertEqual(steps["bad"]["cases"], ["Sum.IsRight"])
        self.assertIn("ended by SIGSEGV", steps["dead"]["why"])
        self.assertIn("no-such-tool is not on this machine", steps["tool"]["why"])
        self.assertIn("Repeat: `sh -c", self.text)

    def test_takes_nothing_for_a_success(self):
        skipped = "echo '[  PASSED  ] 0 tests.'; echo '[  SKIPPED ] 3 tests, listed below:'"
        good, steps = self.run_all([Step("tests", "without a device", ["sh", "-c", skipped], 20),
                                    Step("probe", "finds none", ["echo", "none"], 20, says="cuda:0")])
        self.assertFalse(good)
        self.assertEqual([steps[name]["status"] for name in ("tests", "probe")], ["failed", "failed"])
        self.assertIn("all 3 tests were skipped", steps["tests"]["why"])
        self.assertIn("it says nothing of cuda:0", steps["probe"]["why"])

    def test_ends_a_step_that_hangs_and_all_that_it_started(self):
        mark = pathlib.Path(self.folder.name) / "alive"
        hanging = f"(sleep 3; touch '{mark}') & sleep 600"
        begin = time.monotonic()
        good, steps = self.run_all([Step("hangs", "for ever", ["sh", "-c", hanging], 1),
                                    Step("next", "still runs", ["true"], 20)])
        self.assertLess(time.monotonic() - begin, 30)
        self.assertFalse(good)
        self.assertEqual(steps["hangs"]["status"], "timed out")
        self.assertEqual(steps["next"]["status"], "passed")
        time.sleep(4)
        self.assertFalse(mark.exists())

    def test_names_what_the_time_did_not_suffice_for(self):
        good, steps = self.run_all([Step("long", "takes it all", ["sleep", "2.5"], 20),
                                    Step("rest", "comes too late", ["true"], 20)], seconds=3)
        self.assertTrue(good)
        self.assertEqual(steps["long"]["status"], "passed")
        self.assertEqual(steps["rest"]["status"], "skipped")
        self.assertIn("the time is used up", self.text)

    def test_refuses_a_step_that_is_none(self):
        done = subprocess.run([sys.executable, device_check.__file__, "--only", "nonsense", str(self.out)],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("there is no step 'nonsense'", done.stderr)

    def test_hash_follows_the_sources(self):
        self.assertEqual(portable.source_hash(), portable.source_hash())
        self.assertEqual(len(portable.source_hash()), 64)
        names = {str(path.relative_to(portable.ROOT)) for path in portable.source_files()}
        for needed in ("src/machine/kernels/cuda/gemm.cu", "tests/machine/cuda_staged/probes.cu", "cmake/cuda.cmake",
                       "bench/cuda_kernels_bench.cpp", "tests/cuda/bits.json", "src/apps/demo_config.h.in"):
            self.assertIn(needed, names)
        own = portable.ROOT
        portable.ROOT = pathlib.Path(self.folder.name) / "sources"
        try:
            for file in ("tests/a/probes.cu", "bench/b.cpp", "CMakeLists.txt", "CMakePresets.json"):
                (portable.ROOT / file).parent.mkdir(parents=True, exist_ok=True)
                (portable.ROOT / file).write_text("one")
            before = portable.source_hash()
            for file in ("tests/a/probes.cu", "bench/b.cpp"):
                (portable.ROOT / file).write_text("two")
                self.assertNotEqual(portable.source_hash(), before)
                (portable.ROOT / file).write_text("one")
                self.assertEqual(portable.source_hash(), before)
        finally:
            portable.ROOT = own

    def test_gathers_what_the_sources_make_now(self):
        build, ready = pathlib.Path(self.folder.name) / "build", pathlib.Path(self.folder.name) / "ready"
        build.mkdir()
        stale = build / "tool"
        stale.write_text("old")
        stale.chmod(0o755)
        true = shutil.which("true")
        portable.gather(build, ready, ["tool"], ["cp", true, str(stale)])
        self.assertEqual(subprocess.run([ready / "tool"]).returncode, 0)  # the new one
        self.assertEqual((ready / portable.HASH).read_text().strip(), portable.source_hash())
        with self.assertRaises(SystemExit) as refused:
            portable.gather(build, ready, ["tool"], ["false"])
        self.assertIn("cannot be built from the sources as they are", str(refused.exception))
        with self.assertRaises(SystemExit) as refused:
            portable.gather(build, ready, ["absent"], ["true"])
        self.assertIn("is not built", str(refused.exception))

    def test_patterns_of_tests_match_some(self):
        checked = 0
        for step in device_check.STEPS:
            words = {word.split("=")[0]: word.partition("=")[2] for word in step.command}
            if "--gtest_filter" not in words:
                continue
            program = next(word for word in step.command if word.endswith("_device_tests"))
            program = BUILD / "tests" / pathlib.Path(program).name.replace("_device_", "_fast_")
            if not program.exists():
                self.skipTest(f"{program.name} is not built")
            for pattern in words["--gtest_filter"].split(":"):
                listed = subprocess.run([program, "--gtest_list_tests", "--gtest_filter=" + pattern],
                                        capture_output=True, text=True, check=True).stdout
                self.assertRegex(listed, r"(?m)^  \w", f"{step.name}: no test of {program.name} is {pattern}")
                checked += 1
        self.assertGreater(checked, 20)

    def test_finds_the_tools_of_cuda_beside_path(self):
        tools = pathlib.Path(self.folder.name) / "bin"
        tools.mkdir()
        (tools / "hadal-tool").write_text("#!/bin/sh\necho tool: $1\n")
        (tools / "hadal-tool").chmod(0o755)
        places, device_check.CUDA_PLACES = device_check.CUDA_PLACES, str(tools)
        try:
            good, steps = self.run_all([Step("tool", "is there", ["hadal-tool", "{out}"], 20, ["hadal-tool"],
                                             says="tool: " + str(self.out))])
        finally:
            device_check.CUDA_PLACES = places
        self.assertTrue(good)
        self.assertEqual(steps["tool"]["status"], "passed")

    def test_writes_the_table_of_kernels_from_a_report(self):
        docs = (device_check.ROOT / "docs" / "gpu.md").read_text()
        passed = [{"name": name, "status": "passed"} for name in device_table.COVERING]
        report = {"date": "2026-12-24 10:00 UTC", "card": "NVIDIA H200", "steps": passed,
                  "bench": [{"name": "product BF16 4096x2112x7168", "tflops": 400, "share": 0.52},
                            {"name": "product BF16 4096x4096x7168", "tflops": 420, "share": 0.61},
                            {"name": "attention 2048 tokens, 16 heads", "tflops": 3}]}
        written = device_table.with_report(docs, report)
        self.assertRegex(written, r"(?m)^\| gemm on tensor cores .*\| NVIDIA H200, 2026-12-24 \| 61 % \|$")
        self.assertRegex(written, r"(?m)^\| attention forward .*\| NVIDIA H200, 2026-12-24 \| - \|$")
        self.assertRegex(written, r"(?m)^\| rope .*\| NVIDIA H200, 2026-12-24 \| - \|$")
        self.assertEqual(device_table.with_report(written, report), written)
        self.assertEqual(len(written.split("\n")), len(docs.split("\n")))
        report["steps"][2]["status"] = "timed out"
        self.assertIn("| NVIDIA H200, 2026-12-24: ops failed | - |", device_table.with_report(written, report))
        report["steps"] = passed[:1]
        self.assertIn("| never whole (kernels, ops skipped) | - |", device_table.with_report(written, report))
        with self.assertRaises(SystemExit):
            device_table.with_report("no table", report)

    def test_passes_on_the_emulated_device(self):
        programs = pathlib.Path(self.folder.name) / "programs"
        programs.mkdir()
        if not (BUILD / "tests" / "hadal_emulated").exists():
            self.skipTest("this machine's processor has no emulated device")
        for name, program in {"hadal": "hadal_emulated", "train_device_tests": "train_fast_tests",
                              "tensor_device_tests": "tensor_fast_tests",
                              "ops_device_tests": "ops_fast_tests"}.items():
            (programs / name).symlink_to(BUILD / "tests" / program)
        small = programs / "cuda_kernels_bench"  # sizes that the emulated device can bear
        small.write_text(f"#!/bin/sh\nexec '{BUILD}/tests/cuda_kernels_bench_emulated' \"$1\" 128\n")
        small.chmod(0o755)
        tools = pathlib.Path(self.folder.name) / "bin"  # a sanitizer that finds nothing, and runs one of the tests
        tools.mkdir()
        fake = tools / "compute-sanitizer"
        fake.write_text("#!/bin/sh\n"
                        "[ \"$1 $3 $4 $5 $6\" = '--tool --target-processes all --error-exitcode 9' ] || exit 3\n"
                        "shift 6\nexec \"$1\" --gtest_filter='DispatchPlan.By*'\n")
        fake.chmod(0o755)
        asked = [word for name in ("probe", "bits", "tensors", "bench", "racecheck") for word in ("--only", name)]
        done = subprocess.run([sys.executable, device_check.__file__, "--programs", str(programs), *asked,
                               str(self.out)], capture_output=True, text=True,
                              env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"})
        report = (self.out / "report.md").read_text()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr + report)
        self.assertIn("| bits | the bits of every kernel are the emulator's | passed |", report)
        self.assertIn("| racecheck | races in shared memory | passed |", report)
        self.assertIn("the emulated device", (self.out / "probe.log").read_text())
        facts = json.loads((self.out / "report.json").read_text())
        self.assertEqual(facts["card"], "the emulated device")
        self.assertEqual(len(facts["bench"]), 9)
        self.assertIn("card: the emulated device", report)


if __name__ == "__main__":
    BUILD = pathlib.Path(sys.argv.pop(1)).resolve()
    shutil.which("sh") or sys.exit("no shell")
    unittest.main()
