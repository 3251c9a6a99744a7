#!/usr/bin/env bash
# Builds and runs all fast tests under the sanitizer presets, one after the other. A report is counted even where the
# test that ran into it passed (a report of a child process, say). Last line: N passed, N failed, N skipped, N reports.
# usage: sanitize.sh JOBS [PRESET...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
jobs=${1:-1}
shift || true
presets=${*:-asan-ubsan tsan}
# The thread sanitizer of older compilers cannot live with much address randomisation: run without it where that is
# allowed.
if [ -z "${HADAL_FIXED_ADDRESSES:-}" ] && setarch "$(uname -m)" -R true 2> /dev/null; then
  HADAL_FIXED_ADDRESSES=1 exec setarch "$(uname -m)" -R "$0" "$jobs" $presets
fi
passed=0 failed=0 skipped=0 reports=0 summary=""
for preset in $presets; do
  begin=$SECONDS
  echo "sanitize: $preset: configuring and building build/$preset"
  cmake --preset "$preset" > /dev/null
  cmake --build --preset "$preset" -j "$jobs" --target hadal fast_tests
  built=$SECONDS
  directory=$PWD/build/$preset/reports
  rm -rf "$directory"
  mkdir -p "$directory"
  options="log_path=$directory/report"
  export ASAN_OPTIONS="$options:detect_stack_use_after_return=1:strict_string_checks=1"
  export UBSAN_OPTIONS="$options:print_stacktrace=1"
  export TSAN_OPTIONS="$options:second_deadlock_stack=1" LSAN_OPTIONS="$options"
  log=build/$preset/tests.log
  python3 tools/run_tests.py "build/$preset" --labels fast 2>&1 | tee "$log" || true
  line=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1) ||
    { echo "sanitize: $preset: no result" >&2; exit 1; }
  read -r p _ f _ s _ <<< "$line"
  found=$(find "$directory" -type f | wc -l)
  find "$directory" -type f | sort | head -n 20 | while read -r report; do
    echo "sanitize: $preset: report $report"
    head -n 40 "$report"
  done
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s)) reports=$((reports + found))
  summary+="sanitize: $preset: $line, $found reports; "
  summary+="built in $((built - begin)) s, tested in $((SECONDS - built)) s"$'\n'
done
printf '\n%s' "$summary"
echo "$passed passed, $failed failed, $skipped skipped, $reports reports"
[ "$failed" -eq 0 ] && [ "$reports" -eq 0 ] && [ "$passed" -gt 0 ]
