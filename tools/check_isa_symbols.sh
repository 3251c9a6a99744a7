#!/bin/sh
# check_isa_symbols.sh OBJECT_DIRECTORY ISA
# Fails when an object compiled for an instruction set defines a global symbol outside hadal::kernels::ISA. Such a
# symbol is an inline function or template that other objects define too; the linker keeps one copy for all, and a
# machine without the instruction set may be given the one that needs it.
set -u
if [ $# -ne 2 ]; then echo "usage: $0 OBJECT_DIRECTORY ISA" >&2; exit 2; fi
directory=$1 isa=$2
objects=$(find "$directory" -name '*.o' 2>/dev/null)
if [ -z "$objects" ]; then echo "no objects below $directory" >&2; exit 2; fi
# Types: T D B R = global, W V u = weak or unique; locals are lower case. Sanitizers add their own names, and code that
# an exception may pass through a DW.ref pointer: data, no instructions.
found=$(nm -C --defined-only $objects | grep -E '^[0-9a-f]+ [TDBRWVu] ' |
        grep -v -E "^[0-9a-f]+ . (vtable for |typeinfo for |guard variable for )?hadal::kernels::$isa::" |
        grep -v -E '(asan|ubsan|tsan|odr_asan|__odr)[._]| V DW\.ref\.')
if [ -n "$found" ]; then
  echo "symbols outside hadal::kernels::$isa in objects built for $isa:" >&2
  echo "$found" >&2
  exit 1
fi
