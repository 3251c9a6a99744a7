#!/usr/bin/env python3
"""precision.py: what keeps every promise passes; a median or a score above its bound is named, and only that. There
are always two texts."""
import copy
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import precision  # noqa: E402


def run(of, seed, value):
    return {"precision": of, "seed": seed, "validations": [(100, 3.0), (300, value)], "seconds": 60.0 * seed}


FINE = {
    "runs": {**{f"seed-{s}-bf16": run("bf16", s, 2.0 + 0.1 * s) for s in (1, 2, 3)},
             **{f"seed-{s}-fp8": run("fp8", s, 2.005 + 0.1 * s) for s in (1, 2, 3)}},
    "scores": {"seed-1-bf16 100 bf16": 3.0, "seed-1-bf16 100 fp8": 3.004, "seed-1-bf16 100 fp32": 2.9,
               "seed-1-bf16 300 bf16": 2.1, "seed-1-bf16 300 fp8": 2.101, "second-1-bf16 300 bf16": 2.0,
               "second-1-bf16 300 fp8": 2.0},
}


class Verdicts(unittest.TestCase):
    def setUp(self):
        self.results = copy.deepcopy(FINE)

    def broken(self):
        return [text for text, kept in precision.verdicts(self.results) if not kept]

    def test_all_kept(self):
        found = precision.verdicts(self.results)
        self.assertEqual(len(found), 3)
        self.assertEqual(self.broken(), [])
        self.assertIn("+0.227 %", found[0][0])
        self.assertIn("at step 100", found[2][0])  # the worst of its run

    def test_a_median_too_high_is_named(self):
        self.results["runs"]["seed-2-fp8"]["validations"][-1] = (300, 2.21)
        self.assertEqual(len(self.broken()), 1)
        self.assertIn("median of 3 seeds", self.broken()[0])

    def test_a_score_too_high_is_named(self):
        self.results["scores"]["second-1-bf16 300 fp8"] = 2.0031
        self.assertEqual(len(self.broken()), 1)
        self.assertIn("second-1-bf16, fp8", self.broken()[0])

    def test_nothing_measured_promises_nothing(self):
        self.assertEqual(precision.verdicts({"runs": {}, "scores": {}}), [])

    def test_times_are_of_all_runs(self):
        self.assertEqual(precision.times(self.results),
                         "6 runs in 12 minutes; the longest in BF16 of configs/precision.toml 3.0 minutes\n")


class Texts(unittest.TestCase):
    def test_there_is_always_a_second_text_of_another_kind(self):
        with tempfile.TemporaryDirectory() as name:
            out, book = pathlib.Path(name), pathlib.Path("book.txt")
            library, own = precision.chosen_texts(None, None, out)
            self.assertIn("import ", library.read_text())
            self.assertIn("namespace hadal", own.read_text())
            self.assertEqual(precision.chosen_texts(book, None, out), (book, library))
            self.assertEqual(precision.chosen_texts(book, own, out), (book, own))

    def test_a_text_that_was_made_stays_as_it_is(self):
        with tempfile.TemporaryDirectory() as name:
            path = precision.own_text(pathlib.Path(name))
            path.write_text("what runs have begun with")
            self.assertEqual(precision.own_text(pathlib.Path(name)).read_text(), "what runs have begun with")


if __name__ == "__main__":
    unittest.main()
