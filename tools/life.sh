#!/usr/bin/env bash
# The walk in small (configs/life.toml): makes its texts and tokenizer in runs/life-data, trains all phases in
# runs/life, asks for needles and bits by position before and after the extensions and without YaRN, and for word
# problems at the end. Goes on where it was stopped.
# usage: life.sh HADAL
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
hadal=$1
data=runs/life-data
mkdir -p $data
generate() {  # FILE, then what is generated
  [ -e "$data/$1" ] || "$hadal" eval generate "${@:2}" --to "$data/$1"
}
generate short.jsonl needle --n 30000 --bytes 150,200,300,400
# Many lengths: of few a model learns where a text must end, and is surprised by those that go on.
generate longer.jsonl needle --n 6000 --first 30000 --bytes 400,800,1300,1900,2500,3100,3700
generate longest.jsonl needle --n 1500 --first 40000 --bytes 2000,4000,6000,8000,10000,12000,14000,15500
generate unseen.jsonl needle --n 48 --first 60000 --bytes 20000  # for bits per token by position
generate problems.jsonl word_problems --n 60000
# Few merges, of words alone: digits stay single tokens, so that sums are no table to be memorised.
[ -e $data/tokenizer/tokenizer.json ] ||
  "$hadal" tokenizer train --input $data/short.jsonl --vocab-size 512 --output $data/tokenizer --quiet
"$hadal" train configs/life.toml
# Before the first extension, after it, and its steps without YaRN.
for phase in base longer longer-plain; do
  "$hadal" eval --model runs/life:$phase --tasks needle --lengths 128,1024 --limit 16 --record
  "$hadal" eval --model runs/life:$phase --tasks positions --text $data/unseen.jsonl --record
done
"$hadal" eval --model runs/life:longest --tasks needle --lengths 128,1024,4096 --limit 16 --record
"$hadal" eval --model runs/life:longest --tasks positions --text $data/unseen.jsonl --record
"$hadal" eval --model runs/life --tasks word_problems --limit 200 --record
"$hadal" report runs/life
