#!/usr/bin/env python3
"""Gathers what a build for CUDA needs on another machine: the binary, the tests for a device, and their shared
libraries beside them, with the hash of the sources that they were made of: the build is brought up to date first, and
sources that change meanwhile are an error. What every Linux has (the C library, the loader) stays there.

usage: portable.py BUILD OUT        for example: portable.py build/cuda build/portable
"""
import hashlib
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
HASH = "SOURCE_HASH"
PROGRAMS = ["hadal", "bench/cuda_kernels_bench", "tests/kernels_device_tests", "tests/tensor_device_tests",
            "tests/ops_device_tests", "tests/train_device_tests"]  # below a build
OF_THE_SYSTEM = re.compile(r"^(ld-linux|libc\.|libm\.|libdl\.|librt\.|libpthread\.|linux-vdso)")


def source_files():
    """Whatever may change what the programs do: all below these folders but Python."""
    for folder in ("src", "tests", "bench", "cmake"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix not in (".py", ".pyc", ".md"):
                yield path
    yield from (ROOT / "CMakeLists.txt", ROOT / "CMakePresets.json")


def source_hash():
    whole = hashlib.sha256()
    for path in sorted(source_files()):
        whole.update(f"{path.relative_to(ROOT)}\0".encode())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def libraries_of(program):
    text = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for name, path in re.findall(r"^\s*(\S+) => (/\S+)", text, re.M):
        if not OF_THE_SYSTEM.match(name):
            yield pathlib.Path(path)


def build_command(build):
    targets = [word for program in PROGRAMS for word in ("--target", pathlib.Path(program).name)]
    return ["cmake", "--build", str(build), *targets]


def gather(build, out, names=PROGRAMS, bring_up_to_date=None):
    build, out = pathlib.Path(build), pathlib.Path(out)
    made_of = source_hash()
    if subprocess.run(bring_up_to_date or build_command(build), stdout=subprocess.DEVNULL).returncode != 0:
        sys.exit(f"portable: {build} cannot be built from the sources as they are")
    programs = [build / program for program in names]
    missing = [str(program) for program in programs if not program.exists()]
    if missing:
        sys.exit(f"portable: {', '.join(missing)} is not built")
    shutil.rmtree(out, ignore_errors=True)
    (out / "lib").mkdir(parents=True)
    for program in programs:
        # A starter in the program's place finds the libraries beside it, wherever the folder lies.
        shutil.copy(program, out / "lib" / program.name)
        subprocess.run(["strip", out / "lib" / program.name], check=False)
        starter = out / program.name
        starter.write_text('#!/bin/sh\nhere=$(cd "$(dirname "$0")" && pwd)\n'
                           f'LD_LIBRARY_PATH="$here/lib${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}" '
                           f'exec "$here/lib/{program.name}" "$@"\n')
        starter.chmod(0o755)
        for library in libraries_of(program):
            shutil.copy(library, out / "lib" / library.name)
    if source_hash() != made_of:
        sys.exit("portable: the sources have changed meanwhile; try again")
    (out / HASH).write_text(made_of + "\n")
    return out


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    made = gather(sys.argv[1], sys.argv[2])
    print(f"{made}: {sum(f.stat().st_size for f in made.rglob('*') if f.is_file()) >> 20} MiB")
