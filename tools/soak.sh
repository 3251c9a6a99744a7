#!/usr/bin/env bash
# A server under peers that break off (tests/serving/server/serving_soak_test.cpp) for some time, then faults of ranks
# (tests/apps/rank_faults_ranks_test.cpp) again and again: other moments and victims each time, drawn from a seed that
# is printed. Ends at the first failure, with the command that repeats it; last line: what passed.
# usage: soak.sh BUILD_DIR TIMES [SEED [SECONDS]]     (TIMES 0: the server alone)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=$1 times=${2:-20} first=${3:-$(date +%s)} seconds=${4:-120}
tests="$build/tests/apps_ranks_tests" server_tests="$build/tests/server_fast_tests"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "soak: a server for $seconds seconds, then $times times ranks, from seed $first"
if ! HADAL_SEED=$first HADAL_SECONDS=$seconds timeout --foreground $((seconds + 900)) "$server_tests" \
  --gtest_filter='ServingSoak.*' > "$log" 2>&1; then
  cat "$log"
  echo "soak: FAILED; HADAL_SEED=$first HADAL_SECONDS=$seconds $server_tests --gtest_filter='ServingSoak.*'" >&2
  exit 1
fi
echo "soak: the server, $(grep '^seed ' "$log")"
for ((i = 0; i < times; ++i)); do
  seed=$((first + i))
  if ! HADAL_SEED=$seed timeout --foreground 900 "$tests" --gtest_filter='*RankFaults*' > "$log" 2>&1; then
    cat "$log"
    echo "soak: FAILED at seed $seed, $i passed before; HADAL_SEED=$seed $tests --gtest_filter='*RankFaults*'" >&2
    exit 1
  fi
  counted=$(grep -E '^\[  (PASSED|SKIPPED) +\] [0-9]' "$log" | tr -d '[]' | tr -s ' \n' ' ')
  echo "soak: $((i + 1)) of $times, seed $seed:$counted"
done
echo "soak: the server and $times of $times passed"
