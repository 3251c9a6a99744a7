#!/usr/bin/env bash
# Builds the libFuzzer targets with clang and runs each for some seconds, from its seeds and from what earlier runs
# found (build/fuzz/corpus). Ends at the first fault, with its report and the input. usage: fuzz.sh SECONDS JOBS
# [TARGET...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:-60} jobs=${2:-1}
shift $(($# < 2 ? $# : 2))
if ! command -v clang++ > /dev/null; then
  echo "fuzz: error: clang++ is needed; ./setup --developer installs it" >&2
  exit 1
fi
cmake -S . -B build/fuzz -G Ninja -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=Debug -DHADAL_FUZZ=ON \
  -DHADAL_TESTS=ON -DHADAL_BENCH=OFF -DHADAL_PRECOMPILED=OFF \
  "-DHADAL_SANITIZE=address,undefined,fuzzer-no-link" > /dev/null
targets=${*:-$(find tests/fuzz -name '*_fuzz.cpp' -printf '%f\n' | sed 's/\.cpp$//' | sort)}
[ -n "$targets" ] || { echo "fuzz: error: no target in tests/fuzz" >&2; exit 1; }
# shellcheck disable=SC2086
cmake --build build/fuzz -j "$jobs" --target $targets
n_targets=0 total=0
for target in $targets; do
  corpus=build/fuzz/corpus/$target faults=build/fuzz/faults/$target- log=build/fuzz/$target.log
  mkdir -p "$corpus" build/fuzz/faults
  echo "fuzz: $target for $seconds s"
  seeds=tests/fuzz/seeds/$target
  [ -d "$seeds" ] || seeds=
  # shellcheck disable=SC2086
  if ! "build/fuzz/tests/$target" -max_total_time="$seconds" -rss_limit_mb=4096 -timeout=20 -max_len=4096 \
    -print_final_stats=1 -artifact_prefix="$faults" "$corpus" $seeds > "$log" 2>&1; then
    grep -avE '^#[0-9]+\s+(NEW|REDUCE|pulse|RELOAD)' "$log" | tail -n 60
    echo "fuzz: $target found a fault; its input lies at $faults*" >&2
    exit 1
  fi
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  edges=$(grep -aoE 'cov: [0-9]+' "$log" | tail -n 1 | cut -c 6-)
  echo "fuzz: $target: $runs executions, $edges edges covered, $(find "$corpus" -type f | wc -l) inputs kept"
  n_targets=$((n_targets + 1)) total=$((total + runs))
done
echo "fuzz: $n_targets targets, $total executions, 0 faults"
