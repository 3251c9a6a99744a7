#!/usr/bin/env python3
"""life_floors.py: figures that reach every floor pass; of those that miss one, or are not there, it is named."""
import contextlib
import copy
import io
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import life_floors  # noqa: E402


def metrics(**values):
    return {"metrics": [{"name": n, "filter": "none", "value": v[0], "error": v[1]} for n, v in values.items()]}


# As hadal eval --record writes them, as far as they are read; every figure at its floor.
FINE = {
    "longest/needle": {"grids": [
        {"title": "needle, likeliest of 16 (chance 0.06)", "rows": ["128", "1024", "4096"], "columns": ["0%", "100%"],
         "values": [1.0, 0.8, 0.85, 0.95, 0.6, 1.0]},
        {"title": "needle, written by greedy decoding", "rows": ["128", "1024", "4096"], "columns": ["0%", "100%"],
         "values": [0.0] * 6}]},
    "longest/positions": metrics(bits_512_1023=(0.530, 0.003), bits_2048_4095=(0.536, 0.001)),
    "longest/word_problems": metrics(exact_match=(0.05, 0.01), well_formed=(0.1, 0.01)),
    "chat/word_problems": metrics(exact_match=(0.85, 0.02), well_formed=(0.99, 0.01)),
}


class Floors(unittest.TestCase):
    def missed(self, change=lambda all: None):
        """The floors that are named on standard error; of figures that pass none."""
        records = copy.deepcopy(FINE)
        change(records)
        with tempfile.TemporaryDirectory() as folder:
            for name, record in records.items():
                phase, task = name.split("/")
                path = pathlib.Path(folder) / phase / "evals" / f"{task}.json"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(record))
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = life_floors.main(folder)
        text = err.getvalue().strip()
        self.assertEqual(code, 1 if text else 0)
        self.assertEqual(out.getvalue().count("MISSED"), len(text.split(";")) if text else 0)
        return text.removeprefix("life_floors: missed: ").split("; ") if text else []

    def test_figures_at_their_floors_pass(self):
        self.assertEqual(self.missed(), [])

    def test_each_floor_that_is_missed_is_named(self):
        def value(record, name, found):
            for one in record["metrics"]:
                if one["name"] == name:
                    one["value"] = found

        cases = [
            (lambda r: r["longest/needle"]["grids"][0]["values"].__setitem__(1, 0.79),
             "needle at 128, mean over depths"),
            (lambda r: r["longest/needle"]["grids"][0]["values"].__setitem__(2, 0.84),
             "needle at 1024, mean over depths"),
            (lambda r: r["longest/needle"]["grids"][0]["values"].__setitem__(4, 0.59),
             "needle at 4096, mean over depths"),
            (lambda r: value(r["longest/positions"], "bits_2048_4095", 0.537), "bits per token at 2,048-4,095"),
            (lambda r: value(r["longest/word_problems"], "exact_match", 0.055), "word problems before fine-tuning"),
            (lambda r: value(r["chat/word_problems"], "exact_match", 0.845), "word problems after it"),
            (lambda r: value(r["chat/word_problems"], "well_formed", 0.985), "answers well-formed and ended"),
        ]
        for change, name in cases:
            self.assertEqual(self.missed(change), [name])

    def test_what_was_not_asked_for_is_missed(self):
        self.assertEqual(self.missed(lambda r: r.pop("longest/positions")), ["bits per token at 2,048-4,095"])
        self.assertEqual(self.missed(lambda r: r["longest/needle"]["grids"][0]["rows"].__setitem__(2, "2048")),
                         ["needle at 4096, mean over depths"])
        self.assertEqual(len(self.missed(lambda r: r.clear())), 7)


if __name__ == "__main__":
    unittest.main()
