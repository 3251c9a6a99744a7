#!/usr/bin/env python3
"""The device check reports what passed, failed, crashed or hung, ends in time whatever a step does, and passes on the
emulated device.

usage: device_check_test.py BUILD
"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import device_check  # noqa: E402
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
        self.assertTrue(any(path.suffix == ".cu" for path in portable.source_files()))

    def test_passes_on_the_emulated_device(self):
        programs = pathlib.Path(self.folder.name) / "programs"
        programs.mkdir()
        if not (BUILD / "tests" / "hadal_emulated").exists():
            self.skipTest("this machine's processor has no emulated device")
        for name, program in {"hadal": "hadal_emulated", "train_device_tests": "train_fast_tests",
                              "tensor_device_tests": "tensor_fast_tests"}.items():
            (programs / name).symlink_to(BUILD / "tests" / program)
        done = subprocess.run([sys.executable, device_check.__file__, "--programs", str(programs), "--only", "probe",
                               "--only", "bits", "--only", "tensors", str(self.out)], capture_output=True, text=True)
        report = (self.out / "report.md").read_text()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr + report)
        self.assertIn("| bits | the bits of every kernel are the emulator's | passed |", report)
        self.assertIn("the emulated device", (self.out / "probe.log").read_text())


if __name__ == "__main__":
    BUILD = pathlib.Path(sys.argv.pop(1)).resolve()
    shutil.which("sh") or sys.exit("no shell")
    unittest.main()
