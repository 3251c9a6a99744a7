#!/usr/bin/env bash
# From the model of `make demo` to an assistant: dialogues of this project's generators, an evaluation before and after,
# and how to chat (docs/assistant.md). Goes on where it was stopped.
# usage: assistant.sh HADAL
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
hadal=$1
data=runs/assistant-data
[ -e runs/demo/config.toml ] || "$hadal" demo --run runs/demo
mkdir -p $data
generate() {  # KIND COUNT
  [ -e "$data/$1.jsonl" ] || "$hadal" eval generate "$1" --split train --n "$2" --to "$data/$1.jsonl"
}
generate word_problems 10000
generate arithmetic 5000
generate reading 10000
evaluate() {  # MODEL, and where the results go
  [ -e "$data/$2/results.json" ] ||
    "$hadal" eval --model "$1" --tasks word_problems,arithmetic,reading --limit 100 --record --to "$data/$2"
}
evaluate runs/demo before
"$hadal" train configs/assistant.toml --model runs/demo --run runs/assistant
evaluate runs/assistant after
"$hadal" eval compare $data/before $data/after
"$hadal" report runs/assistant
echo "chat:  hadal chat --model runs/assistant"
