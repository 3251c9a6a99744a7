#!/usr/bin/env python3
"""The compiled truth about a CUDA kernel, no GPU needed: the source builds for sm_90a; no kernel of it spills
registers, has a stack or takes more registers than its budget (128, so that two blocks of 256 threads share a
multiprocessor, or what the source says: "compiled truth: at most 168 registers"); none adds floating-point numbers
atomically, or calls a device function that was not inlined; ptxas names no kernel whose wgmma it serialises or whose
setmaxnreg it ignores (C75xx). Where a source says "compiled truth: wgmma.mma_async (HGMMA), ...", each of its kernels
holds these instructions, of the PTX and, in brackets, of the machine. What is read from the machine code is a check of
its own, since it needs cuobjdump.

What was compiled before is kept in WORK, and compiled again when the source or a header of it has changed.

usage: check_cuda.py WORK SOURCE.cu                last line: the kernels and their registers
       check_cuda.py WORK --machine-code SOURCE.cu the same of its machine code
       check_cuda.py WORK [--machine-code] --planted   compiles faults on purpose; each must be found
Exit code 77, and why, where nvcc or cuobjdump is missing or too old.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Beside PATH: where CUDA installs itself, and where ./setup --cuda puts it.
PLACES = f"/usr/local/cuda/bin:{ROOT}/.cuda/nvidia/cu13/bin"
SKIPPED, OLDEST = 77, 13
BUDGET = 128  # registers
FLAGS = ["-std=c++20", "-gencode=arch=compute_90a,code=sm_90a", "-fmad=false", "-cudart", "static",
         "-DFMT_USE_CONSTEXPR=1"]

PLANTED = {
    "adds floating-point numbers atomically":
        "__global__ void k(float* p) { atomicAdd(p, 1.0f); }",
    "spills":
        """__global__ void __launch_bounds__(1024, 2) k(float* p) {
             float x[64];
             _Pragma("unroll") for (int i = 0; i < 64; ++i) x[i] = p[i * 1024 + threadIdx.x];
             __syncthreads();
             _Pragma("unroll") for (int i = 0; i < 64; ++i) p[(i * 7 % 64) * 1024 + threadIdx.x] = x[i] * x[63 - i];
           }""",
    "has a stack":
        """__global__ void k(int* p) {
             int x[512];
             for (int i = 0; i < 512; ++i) x[i] = p[i];
             p[0] = x[p[513] & 511] + x[p[514] & 511];
           }""",
    "calls a device function":
        "__device__ __noinline__ int f(int* p) { return p[1] * p[2]; } __global__ void k(int* p) { p[0] = f(p); }",
    "ptxas warns":
        """#include "kernels/cuda/hopper/asynchronous.h"
           using namespace hadal::kernels::cuda;
           __global__ void __launch_bounds__(128, 1) k(float* p, uint64_t a, uint64_t b) {
             float sum[kOwnElements] = {};
             begin_products();
             multiply_async<Major::k, Major::k>(sum, a, b, false);
             p[threadIdx.x] = sum[0];
             multiply_async<Major::k, Major::k>(sum, a, b, true);
             end_products();
             wait_for_products<0>();
             for (int i = 0; i < kOwnElements; ++i) p[128 + i * 128 + threadIdx.x] = sum[i];
           }""",
    "takes 3":  # some thirty registers
        """// compiled truth: at most 16 registers
           __global__ void k(float* p) {
             float x[24];
             _Pragma("unroll") for (int i = 0; i < 24; ++i) x[i] = p[i * 32 + threadIdx.x];
             __syncthreads();
             _Pragma("unroll") for (int i = 0; i < 24; ++i) p[(i * 7 % 24) * 32 + threadIdx.x] = x[i] * x[23 - i];
           }""",
    "holds no wgmma.mma_async":
        """// compiled truth: wgmma.mma_async (HGMMA)
           __global__ void k(float* p) { p[0] = 1.0f; }""",
}
PLANTED_IN_MACHINE_CODE = {
    "adds floating-point numbers atomically": PLANTED["adds floating-point numbers atomically"],
    "has a stack": PLANTED["has a stack"],
    "holds no HGMMA":
        """// compiled truth: st.global (HGMMA)
           __global__ void k(float* p) { p[0] = 1.0f; }""",
}


def find_program(name):
    return shutil.which(name) or shutil.which(name, path=PLACES)


def find_nvcc():
    """(path, None), or (None, why there is none)."""
    path = find_program("nvcc")
    if path is None:
        return None, "nvcc is not on this machine"
    text = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    release = re.search(r"release (\d+)", text)
    if release is None or int(release.group(1)) < OLDEST:
        return None, f"{path} is older than CUDA {OLDEST}"
    return path, None


def newer_than_sources(made, depfile):
    if not made.exists() or not depfile.exists():
        return False
    words = depfile.read_text().replace("\\\n", " ").split(":", 1)[-1].split()
    times = [pathlib.Path(word).stat().st_mtime if pathlib.Path(word).exists() else float("inf") for word in words]
    return bool(times) and max(times) < made.stat().st_mtime


def compile_source(nvcc, source, work):
    """Compiles, keeping the PTX and what ptxas said; returns (ptx text, ptxas text, object) or fails."""
    work.mkdir(parents=True, exist_ok=True)
    made, depfile, ptx, said = (work / f"{source.stem}.{end}" for end in ("o", "d", "ptx", "ptxas"))
    if not newer_than_sources(made, depfile):
        kept = work / f"{source.stem}.kept"
        kept.mkdir(exist_ok=True)
        folders = [word for folder in ("src/machine", "tests/machine") for word in ("-I", str(ROOT / folder))]
        command = [nvcc, *FLAGS, *folders, "-Xptxas", "-v", "-MD", "-MF", str(depfile), "--keep", "--keep-dir",
                   str(kept), "-c", str(source), "-o", str(made)]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != 0:
            sys.exit(f"{source.name} does not build:\n{run.stdout}{run.stderr}")
        said.write_text(run.stdout + run.stderr)
        shutil.copy(kept / f"{source.stem}.ptx", ptx)
        shutil.rmtree(kept)
    return ptx.read_text(), said.read_text(), made


def kernels_in(said):
    """[(name, registers, stack, spilled bytes)] from what ptxas -v said."""
    found = []
    for part in re.split(r"Compiling entry function '", said)[1:]:
        stack, stores, loads = (int(n) for n in re.search(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part).groups())
        found.append((part.split("'")[0], int(re.search(r"Used (\d+) registers", part).group(1)), stack,
                      stores + loads))
    return found


def entries_in(text, begin):
    """[(name, text)] of the kernels in PTX or machine code; `begin` finds where one begins, and its name."""
    places = [(m.group(1), m.start()) for m in re.finditer(begin, text, re.M)]
    ends = [start for _, start in places[1:]] + [len(text)]
    return [(name, text[start:end]) for (name, start), end in zip(places, ends)]


def missing(instructions, text, begin):
    """What kernels lack of the instructions that their source claims."""
    for name, kernel in entries_in(text, begin):
        for instruction in instructions:
            if instruction not in kernel:
                yield f"{name} holds no {instruction}"


def claims_of(source):
    """([instruction of the PTX], [of the machine], registers that a kernel may take)."""
    lines = " ".join(re.findall(r"compiled truth: (.*)", source))
    pairs = re.findall(r"([\w.]+) \((\w+)\)", lines)
    budget = re.search(r"at most (\d+) registers", lines)
    return [ptx for ptx, _ in pairs], [machine for _, machine in pairs], int(budget.group(1)) if budget else BUDGET


def breaches(source, ptx, said):
    instructions, _, budget = claims_of(source)
    for name, registers, stack, spilled in kernels_in(said):
        if spilled:
            yield f"{name} spills {spilled} bytes"
        if stack:
            yield f"{name} has a stack of {stack} bytes"
        if registers > budget:
            yield f"{name} takes {registers} registers, more than {budget}"
    for line in re.findall(r"^\s*((?:@\S+\s+)?(?:atom|red)\b[^\n;]*\.b?f(?:16|32|64)\w*\b[^\n;]*);", ptx, re.M):
        yield f"adds floating-point numbers atomically: {line}"
    for line in re.findall(r"^\s*(call\b[^;]*);", ptx, re.M):
        yield f"calls a device function: {' '.join(line.split())}"
    for line in re.findall(r"^.*\(C75\d\d\).*$", said, re.M):
        yield f"ptxas warns: {line}"
    yield from missing(instructions, ptx, r"\.entry\s+(\w+)")


def breaches_of_machine_code(source, made):
    cuobjdump = find_program("cuobjdump")
    sass = subprocess.run([cuobjdump, "--dump-sass", str(made)], capture_output=True, text=True, check=True,
                          env={**os.environ, "PATH": f"{pathlib.Path(cuobjdump).parent}:{os.environ['PATH']}"}).stdout
    for line in re.findall(r"((?:RED|ATOM)\w*\.[\w.]*F(?:16|32|64)[\w.]*)", sass):
        yield f"adds floating-point numbers atomically: {line}"
    for line in re.findall(r"\b((?:LDL|STL)[\w.]*)", sass):
        yield f"has a stack: {line}"
    yield from missing(claims_of(source)[1], sass, r"Function : (\w+)")


def check(nvcc, source, work, machine_code):
    ptx, said, made = compile_source(nvcc, source, work)
    text = source.read_text()
    kernels = kernels_in(said)
    if machine_code and not kernels:
        print(f"{source.name}: no kernels")
        return []
    found = list(breaches_of_machine_code(text, made) if machine_code else breaches(text, ptx, said))
    for breach in found:
        print(f"{source.name}: {breach}")
    print(f"{source.name}: {len(kernels)} kernels, at most {max((k[1] for k in kernels), default=0)} registers, "
          f"{len(found)} breaches{' in their machine code' if machine_code else ''}")
    return found


def check_planted(nvcc, work, machine_code):
    missed = []
    for number, (fault, text) in enumerate((PLANTED_IN_MACHINE_CODE if machine_code else PLANTED).items()):
        work.mkdir(parents=True, exist_ok=True)
        source = work / f"planted{number}{'s' if machine_code else ''}.cu"
        source.write_text(f"// {fault}\n{text}\n")
        if not any(fault in breach for breach in check(nvcc, source, work, machine_code)):
            missed.append(fault)
    for fault in missed:
        print(f"not found: a kernel that {fault}")
    return missed


def main():
    machine_code = "--machine-code" in sys.argv
    work, what = (word for word in sys.argv[1:] if word != "--machine-code")
    work = pathlib.Path(work)
    nvcc, why = find_nvcc()
    if nvcc and machine_code and not find_program("cuobjdump"):
        why = "cuobjdump is not on this machine; ./setup --cuda brings it"
    if why:
        print(f"skipped: {why}")
        return SKIPPED
    if what == "--planted":
        return 1 if check_planted(nvcc, work, machine_code) else 0
    return 1 if check(nvcc, pathlib.Path(what).resolve(), work, machine_code) else 0


if __name__ == "__main__":
    sys.exit(main())
