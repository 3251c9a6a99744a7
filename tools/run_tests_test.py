#!/usr/bin/env python3
"""The test runner counts what ctest reports, and fails when something failed or nothing ran."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import run_tests  # noqa: E402

JUNIT = """<?xml version="1.0"?><testsuite name="x" tests="4">
<testcase name="a" status="run"/>
<testcase name="b" status="fail"><failure message="Failed"/></testcase>
<testcase name="c" status="notrun"><skipped message="SKIP_REGULAR_EXPRESSION_MATCHED"/></testcase>
<testcase name="d" status="disabled"/></testsuite>"""
CTEST = """add_test([=[good]=] true)
set_tests_properties([=[good]=] PROPERTIES LABELS fast)
add_test([=[bad]=] false)
set_tests_properties([=[bad]=] PROPERTIES LABELS slow)
"""


class RunTests(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()

    def run_in(self, ctest_file, *arguments):
        (self.root / "CTestTestfile.cmake").write_text(ctest_file)
        done = subprocess.run([sys.executable, run_tests.__file__, str(self.root), *arguments], capture_output=True,
                              text=True)
        return done.returncode, done.stdout.splitlines()[-1]

    def test_counts_by_outcome(self):
        (self.root / "j.xml").write_text(JUNIT)
        self.assertEqual(run_tests.counts(self.root / "j.xml"),
                         {"passed": ["a"], "failed": ["b"], "skipped": ["c", "d"]})

    def test_a_failure_anywhere_fails_the_run(self):
        self.assertEqual(self.run_in(CTEST), (1, "1 passed, 1 failed, 0 skipped"))

    def test_one_label_runs_alone(self):
        self.assertEqual(self.run_in(CTEST, "--labels", "fast"), (0, "1 passed, 0 failed, 0 skipped"))

    def test_no_test_at_all_is_a_failure(self):
        self.assertEqual(self.run_in(""), (1, "0 passed, 0 failed, 0 skipped"))


if __name__ == "__main__":
    unittest.main()
