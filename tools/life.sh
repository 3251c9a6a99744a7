#!/usr/bin/env bash
# The walk in small (configs/life.toml): makes its texts and tokenizer in runs/life-data, and walks it in runs/life with
# its evaluations, killed on the way as often as KILL_AFTER says (seconds of each start; "" kills none). Then looks at
# what was found: ends with 1, naming them, where floors are missed. Goes on where it was stopped.
# usage: [KILL_AFTER="40 100 160"] life.sh HADAL [hadal train's own options ...]
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
for seconds in ${KILL_AFTER-40 100 160}; do
  code=0
  timeout --foreground -s KILL "$seconds" "$hadal" train configs/life.toml "${@:2}" || code=$?
  [ $code -eq 0 ] && break
  [ $code -eq 137 ] || exit $code
  echo "life.sh: killed after $seconds seconds; the same command goes on"
done
"$hadal" train configs/life.toml "${@:2}"
python3 tools/life_floors.py runs/life
