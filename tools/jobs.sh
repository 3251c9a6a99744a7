#!/usr/bin/env bash
# Prints how many compile jobs fit: min(cores, available memory / 1.5 GB), at least 1; a control group's limit counts.
set -eu
free_kb=$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo 2> /dev/null || echo 3000000)
limit=$(cat /sys/fs/cgroup/memory.max 2> /dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2> /dev/null ||
  echo max)
if [ "$limit" != max ] && [ "${#limit}" -lt 16 ] && [ $((limit / 1024)) -lt "$free_kb" ]; then
  free_kb=$((limit / 1024))
fi
jobs=$((free_kb / 1500000)) cores=$(nproc)
if [ "$jobs" -gt "$cores" ]; then jobs=$cores; fi
if [ "$jobs" -lt 1 ]; then jobs=1; fi
echo "$jobs"
