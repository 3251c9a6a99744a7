#!/bin/sh
# What a GPU must show, in a few minutes: see tools/device_check.py.
exec python3 "$(dirname "$0")/device_check.py" "$@"
