#!/usr/bin/env python3
"""Kernel objects are compiled with instructions that not every CPU has. An inline function of a shared header that such an
object carries along could be the copy the linker keeps, and the program would die on an older CPU. So: every weak symbol of
an object for one instruction set must belong to that set's own namespace.

usage: check_kernel_symbols.py BUILD_DIR
"""
import pathlib
import re
import subprocess
import sys


def leaks(isa, nm_output):
    """The weak symbols in `nm -C` output that are not of this instruction set's namespace."""
    found = []
    for line in nm_output.splitlines():
        match = re.match(r"[0-9a-f]* +([WVu]) (.*)", line)
        if match and re.match(r"[0-9a-f]+ ", line) and f"kernels::{isa}::" not in match.group(2):
            found.append(match.group(2))
    return found


def main():
    build = pathlib.Path(sys.argv[1])
    # The control: a leak looks like this, and must be seen.
    assert leaks("avx512", "0000000000000000 W std::vector<float>::push_back(float&&)") != []
    assert leaks("avx512", "0000000000000000 W hadal::kernels::avx512::f()\n                 U free") == []
    objects, bad = 0, 0
    for folder in sorted(build.glob("CMakeFiles/hadal_kernels_*.dir")):
        isa = re.fullmatch(r"hadal_kernels_(.*)\.dir", folder.name).group(1)
        for path in sorted(folder.rglob("*.o")):
            objects += 1
            text = subprocess.run(["nm", "-C", str(path)], capture_output=True, text=True, check=True).stdout
            for symbol in leaks(isa, text):
                bad += 1
                print(f"{path.name} for {isa} carries shared code: {symbol}")
    print(f"kernel symbols: {objects} objects, {bad} leaks")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
