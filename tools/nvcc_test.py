#!/usr/bin/env python3
"""The configure step says what is wrong with nvcc where it is missing, too old or broken, and takes a new one: with
compilers made for the purpose, that only tell their version.

usage: nvcc_test.py CMAKE
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
CMAKE = "cmake"


class Nvcc(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.bin = pathlib.Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()

    def make(self, says, code=0):
        fake = self.bin / "nvcc"
        fake.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
        fake.chmod(0o755)

    def configure(self, *options):
        """(exit code, what it says) of the step that looks for nvcc."""
        done = subprocess.run([CMAKE, "-D", f"HADAL_NVCC_PLACES={self.bin}", *options, "-P",
                               str(ROOT / "cmake/nvcc.cmake")], capture_output=True, text=True,
                              env={**os.environ, "PATH": "/nowhere"})
        return done.returncode, " ".join(done.stderr.split())

    def test_missing(self):
        code, said = self.configure()
        self.assertNotEqual(code, 0)
        self.assertIn("HADAL_CUDA is on, but nvcc is neither in PATH nor in /usr/local/cuda/bin. './setup --cuda' "
                      "brings it; or use the preset 'release'.", said)

    def test_too_old(self):
        self.make("Cuda compilation tools, release 12.8, V12.8.61")
        code, said = self.configure()
        self.assertNotEqual(code, 0)
        self.assertIn("is no CUDA 13 or newer (it says: release 12). './setup --cuda' brings one", said)

    def test_broken(self):
        self.make("", 1)
        code, said = self.configure()
        self.assertNotEqual(code, 0)
        self.assertIn("is no CUDA 13 or newer (it says: )", said)

    def test_new_enough(self):
        for release in ("13.0, V13.0.88", "14.1, V14.1.1"):
            self.make("Cuda compilation tools, release " + release)
            self.assertEqual(self.configure()[0], 0, release)

    def test_the_project_asks(self):
        self.make("Cuda compilation tools, release 12.8, V12.8.61")
        build = self.bin / "build"
        done = subprocess.run([CMAKE, "-S", str(ROOT), "-B", str(build), "-G", "Ninja", "-D", "HADAL_CUDA=ON", "-D",
                               f"HADAL_NVCC={self.bin / 'nvcc'}"], capture_output=True, text=True)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("is no CUDA 13 or newer", " ".join(done.stderr.split()))


if __name__ == "__main__":
    CMAKE = sys.argv.pop(1)
    unittest.main()
