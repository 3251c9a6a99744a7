#!/usr/bin/env bash
# Builds the libFuzzer targets with clang and runs each for some seconds. usage: fuzz.sh SECONDS JOBS
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:-60} jobs=${2:-1}
command -v clang++ > /dev/null || { echo "fuzz: error: clang++ is needed; ./setup --developer installs it" >&2; exit 1; }
cmake -S . -B build/fuzz -G Ninja -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=Debug -DHADAL_FUZZ=ON -DHADAL_TESTS=ON \
  -DHADAL_BENCH=OFF "-DHADAL_SANITIZE=address,undefined,fuzzer-no-link"
targets=$(find tests/fuzz -name '*_fuzz.cpp' -printf '%f\n' | sed 's/\.cpp$//' | sort)
[ -n "$targets" ] || { echo "fuzz: error: no target in tests/fuzz" >&2; exit 1; }
# shellcheck disable=SC2086
cmake --build build/fuzz -j "$jobs" --target $targets
for target in $targets; do
  echo "fuzz: $target for $seconds s"
  mkdir -p "build/fuzz/corpus/$target"
  "$(find build/fuzz -name "$target" -type f -perm -u+x | head -n 1)" -max_total_time="$seconds" -rss_limit_mb=4096 \
    -print_final_stats=1 "build/fuzz/corpus/$target" $([ -d "tests/fuzz/seeds/$target" ] && echo "tests/fuzz/seeds/$target") 2>&1 | tail -n 12
done
echo "fuzz: no target found a fault"
