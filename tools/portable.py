#!/usr/bin/env python3
"""Gathers what a build for CUDA needs on another machine: the binary, the tests for a device, and their shared
libraries beside them, with the hash of the sources that they were made of. What every Linux has (the C library, the
loader) stays there.

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
    for folder, patterns in (("src", ("*.h", "*.cpp", "*.cu", "*.cmake", "*.in", "*.html", "*.json")),
                             ("tests", ("*.h", "*.cpp", "*.cmake", "CMakeLists.txt", "*.json")),
                             ("cmake", ("*.cmake",))):
        for pattern in patterns:
            yield from (ROOT / folder).rglob(pattern)
    yield from (ROOT / "CMakeLists.txt", ROOT / "CMakePresets.json")


def source_hash():
    whole = hashlib.sha256()
    for path in sorted(set(source_files())):
        whole.update(f"{path.relative_to(ROOT)}\0".encode())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def libraries_of(program):
    text = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for name, path in re.findall(r"^\s*(\S+) => (/\S+)", text, re.M):
        if not OF_THE_SYSTEM.match(name):
            yield pathlib.Path(path)


def gather(build, out):
    build, out = pathlib.Path(build), pathlib.Path(out)
    programs = [build / program for program in PROGRAMS]
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
    (out / HASH).write_text(source_hash() + "\n")
    return out


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    made = gather(sys.argv[1], sys.argv[2])
    print(f"{made}: {sum(f.stat().st_size for f in made.rglob('*') if f.is_file()) >> 20} MiB")
