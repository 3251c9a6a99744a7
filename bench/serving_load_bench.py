#!/usr/bin/env python3
"""What a client of `hadal serve` waits for under load: streamed completions over HTTP that arrive at random (Poisson),
at several shares of the rate at which the server is saturated. Prompts of 32 to 256 random tokens, answers of 64.

Prints, for each rate, percentiles of the time to the first token and between tokens, and the share of the engine's
steps that is no forward (planning, drawing, detokenising, handing out), as /metrics has them; --plot draws the
percentiles as an SVG file. The model is a random one of bench-t2's shape, or of --config's, or a directory of yours,
with a tokenizer. Only the standard library is used. Fails when an answer is cut short or the share outside the forward
is 3 % or more.

usage: serving_load_bench.py BUILD_DIR [--config CONFIG.toml | --model DIR] [--weights FORMAT] [--seconds N]
       [--shares 0.3,0.6,0.9] [--plot FILE.svg]
"""
import argparse
import asyncio
import json
import pathlib
import random
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request

from load_plot import plot

HERE = pathlib.Path(__file__).resolve().parent
ANSWER, SHORTEST, LONGEST = 64, 32, 256  # tokens
SATURATING = 16                          # clients that ask again as soon as they have their answer
OUTSIDE_LIMIT = 0.03
PERCENTILES = (50, 90, 99)


class Served:
    """`hadal serve` on a free port, as long as the block runs."""

    def __init__(self, command):
        self.command = [str(word) for word in command]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        said = self.process.stdout.readline()
        found = re.search(r"serves (\S+) at http://([\d.]+):(\d+)", said)
        if not found:
            sys.exit(f"serving_load_bench: error: the server does not say where it is: '{said.strip()}'")
        self.model, self.host, self.port = found[1], found[2], int(found[3])
        print(said.strip())
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def metrics(self):
        with urllib.request.urlopen(f"http://{self.host}:{self.port}/metrics") as answer:
            lines = (line.split() for line in answer.read().decode().splitlines() if not line.startswith("#"))
            return {words[0]: float(words[1]) for words in lines}


class Client:
    """Asks for streamed answers and notes when their tokens came."""

    def __init__(self, served, vocabulary, seed):
        self.served, self.vocabulary, self.random = served, vocabulary, random.Random(seed)
        self.first, self.gaps = [], []  # seconds

    async def ask(self):
        length = self.random.randint(SHORTEST, LONGEST)
        body = json.dumps(dict(model=self.served.model, prompt=[self.random.randrange(self.vocabulary)
                                                                for _ in range(length)],
                               max_tokens=ANSWER, ignore_eos=True, stream=True, return_token_ids=True,
                               seed=self.random.randrange(1 << 30))).encode()
        asked = time.perf_counter()
        reader, writer = await asyncio.open_connection(self.served.host, self.served.port, limit=1 << 20)
        writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                     b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        events = [(time.perf_counter(), line) async for line in reader if line.startswith(b"data: {")]
        writer.close()
        self.note(asked, events)

    def note(self, asked, events):
        """An event may bring several tokens, those after its first without a wait, or none."""
        times = []
        for when, line in events:
            for choice in json.loads(line[6:]).get("choices", []):
                times += [when] * len(choice.get("token_ids") or [])
        if len(times) != ANSWER:
            said = events[-1][1].decode()[:200] if events else "nothing"
            sys.exit(f"serving_load_bench: error: {len(times)} of {ANSWER} tokens came; last was {said}")
        self.first.append(times[0] - asked)
        self.gaps += [after - before for before, after in zip(times, times[1:])]


async def saturate(client, seconds):
    """Answers a second when clients never wait."""
    end, done = time.perf_counter() + seconds, 0

    async def one():
        nonlocal done
        while time.perf_counter() < end:
            await client.ask()
            done += 1

    begin = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(SATURATING)))
    return done / (time.perf_counter() - begin)


async def arrive(client, rate, seconds):
    """Requests at random moments, `rate` a second; returns when all have their answer."""
    asked, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        await asyncio.sleep(client.random.expovariate(rate))
        asked.append(asyncio.create_task(client.ask()))
    await asyncio.gather(*asked)


def percentile(values, percent):
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


def outside(before, after):
    """The share of the steps between two looks that is no forward."""
    step, forward = (after[name] - before[name] for name in ("hadal_step_seconds_total", "hadal_forward_seconds_total"))
    return 1 - forward / step


def measure(served, args, vocabulary):
    """A row for each rate: share of saturation, requests a second, percentiles in ms, share outside the forward."""
    asyncio.run(saturate(Client(served, vocabulary, 0), args.seconds / 8))  # warms up
    highest = asyncio.run(saturate(Client(served, vocabulary, 1), args.seconds / 2))
    print(f"saturated: {highest:.2f} answers/s, {highest * ANSWER:.0f} new tokens/s with {SATURATING} at once\n")
    names = [f"p{p}" for p in PERCENTILES]
    print(f"{'load':>5s} {'asked/s':>8s} {'answers':>8s}   first token, ms: {' '.join(f'{n:>8s}' for n in names)}   "
          f"next token, ms: {' '.join(f'{n:>8s}' for n in names)}   outside the forward")
    rows = []
    for number, share in enumerate(args.shares):
        client, before = Client(served, vocabulary, 2 + number), served.metrics()
        asyncio.run(arrive(client, share * highest, args.seconds))
        row = dict(share=share, rate=share * highest, outside=outside(before, served.metrics()),
                   first=[1e3 * percentile(client.first, p) for p in PERCENTILES],
                   next=[1e3 * percentile(client.gaps, p) for p in PERCENTILES])
        rows.append(row)
        print(f"{share:5.0%} {row['rate']:8.2f} {len(client.first):8d}                    "
              f"{' '.join(f'{ms:8.1f}' for ms in row['first'])}                   "
              f"{' '.join(f'{ms:8.1f}' for ms in row['next'])}   {row['outside']:.2%}", flush=True)
    return rows


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"serving_load_bench: error: {' '.join(map(str, command))}\n{done.stderr.strip()}")


def write_model(build, config, directory):
    """A random model with a tokenizer of its vocabulary, trained on the Python standard library."""
    run(build / "bench/engine_worker", "write", directory, *([config] if config else []))
    vocabulary = json.loads((directory / "config.json").read_text())["vocab_size"]
    sources = sorted(pathlib.Path(sysconfig.get_path("stdlib")).glob("*.py"))
    run(build / "hadal", "tokenizer", "train", "--input", *sources, "--vocab-size", vocabulary, "--output", directory,
        "--quiet")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--config", type=pathlib.Path, default=HERE.parent / "configs/bench-t2.toml")
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--weights", default="values", help="as hadal serve takes it")
    parser.add_argument("--seconds", type=float, default=30, help="of arrivals at each rate")
    parser.add_argument("--shares", default="0.25,0.5,0.75,0.9,1.0", help="of the rate that saturates")
    parser.add_argument("--plot", type=pathlib.Path)
    args = parser.parse_args()
    args.shares = [float(share) for share in args.shares.split(",")]
    with tempfile.TemporaryDirectory() as scratch:
        directory = args.model or pathlib.Path(scratch) / "model"
        if not args.model:
            write_model(args.build, args.config, directory)
        vocabulary = json.loads((directory / "config.json").read_text())["vocab_size"]
        command = [args.build / "hadal", "serve", "--model", directory, "--port", "0", "--weights", args.weights,
                   "--precision", "bf16", "--attention-form", "absorbed"]
        with Served(command) as served:
            rows = measure(served, args, vocabulary)
    if args.plot:
        args.plot.write_text(plot(rows, PERCENTILES))
    worst = max(row["outside"] for row in rows)
    held = worst < OUTSIDE_LIMIT
    print(f"\n{'held   ' if held else 'FAILED '} {worst:.2%} of the steps is no forward (limit {OUTSIDE_LIMIT:.0%})")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
