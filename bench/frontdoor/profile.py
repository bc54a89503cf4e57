"""Where our front door spends its CPU: `python -m bench.frontdoor.profile [--routing NAME] [--tokens N] [--seconds S] [--lines]`.

The same load as the comparison, on our front door alone under a sampling profiler (which costs some per cent itself). Prints µs
per token of the functions where CPU is spent (`own`: in the function itself and the C code that it calls) and of those with all that they
call (`all`).
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

from bench.frontdoor.__main__ import PROMPT_TOKENS, STREAMS, pieces
from bench.frontdoor.measure import Runner, Shape
from bench.frontdoor.systems import session_backends, tandem
from bench.peers.setting import Backends
from orchestrator.frontend.text import TextModel
from workers.demo import MODEL_DIR

ROOT = Path(__file__).parents[2]


def place(frame: str, lines: bool) -> str:
    """A frame as it is printed, with its path from the repository or from site-packages."""
    file, name, line = frame.split("|")
    for prefix in (f"{ROOT}/", "site-packages/", "/lib/python3."):
        file = file.partition(prefix)[2] if prefix in file else file
    return f"{file}:{name}" + (f":{line}" if lines else "")


def top(path: Path, lines: bool) -> tuple[Counter[str], Counter[str], int]:
    """Samples by function: its own, and with what it calls; and how many there are."""
    own: Counter[str] = Counter()
    everything: Counter[str] = Counter()
    total = 0
    for row in path.read_text().splitlines():
        count, _, stack = row.partition("\t")
        frames = [place(frame, lines) for frame in stack.split(";") if frame]
        if not frames:
            continue
        total += int(count)
        own[frames[-1]] += int(count)
        for frame in set(frames):
            everything[frame] += int(count)
    return own, everything, total


def tree(path: Path, least: float) -> list[tuple[int, str, float]]:
    """Who calls whom, below the event loop: (depth, function, share of all samples), parts below `least` left out."""
    counts: Counter[tuple[str, ...]] = Counter()
    total = 0
    for row in path.read_text().splitlines():
        count, _, stack = row.partition("\t")
        frames = [place(frame, False) for frame in stack.split(";") if frame]
        total += int(count)
        below = frames.index("uvloop/__init__.py:run") + 1 if "uvloop/__init__.py:run" in frames else 0
        for depth in range(below, len(frames)):
            counts[tuple(frames[below : depth + 1])] += int(count)
    rows: list[tuple[int, str, float]] = []

    def walk(prefix: tuple[str, ...]) -> None:
        depth = len(prefix)
        parts = [(n, key) for key, n in counts.items() if len(key) == depth + 1 and key[:depth] == prefix]
        for n, key in sorted(parts, reverse=True):
            if n >= least * total:
                rows.append((depth, key[-1], n / total))
                walk(key)

    walk(())
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.frontdoor.profile", description=__doc__)
    parser.add_argument("--routing", default="prefix_aware")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--streams", type=int, default=STREAMS)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--lines", action="store_true", help="by line, not by function")
    parser.add_argument("--rows", type=int, default=40)
    chosen = parser.parse_args()
    words, ids = pieces(TextModel.load(MODEL_DIR))
    setting = Backends(words, ids)
    with tempfile.TemporaryDirectory() as directory:
        logs, samples = Path(directory), Path(directory) / "samples"
        workers = session_backends(setting, logs)
        try:
            system = tandem(chosen.routing, workers, logs, ("-m", "bench.frontdoor.sampler", str(samples)))
            assert system.process is not None
            try:
                os.kill(system.process.pid, signal.SIGUSR1)  # what it took to start is of no interest
                shape = Shape(chosen.streams, chosen.tokens, PROMPT_TOKENS, chosen.seconds)
                run = Runner(setting, logs, 0).run(system, shape)
                os.kill(system.process.pid, signal.SIGUSR1)
                time.sleep(1.0)
            finally:
                system.process.end()
        finally:
            workers.end()
        own, everything, total = top(samples, chosen.lines)
        calls = tree(samples, 0.01)
    whole_us = 1e6 * run.cpu_s / run.tokens
    print(
        f"{run.requests / run.seconds:.0f} requests/s, {run.tokens / run.seconds:.0f} tokens/s, CPU {run.cpu_s / run.seconds:.2f} s/s, "
        f"{whole_us:.1f} µs per token and {whole_us * run.tokens / run.requests:.0f} µs per request, all in; wrong {len(run.wrong)}"
    )
    for title, counts in (("own", own), ("all", everything)):
        print(f"\n{title:>6} µs/token  µs/request   share")
        for name, count in counts.most_common(chosen.rows):
            share = count / total
            print(
                f"{share * whole_us:15.2f}  {share * whole_us * run.tokens / run.requests:10.1f}  {share:6.1%}  {name}"
            )
    print("\n µs/token  µs/request   share  calls")
    for depth, name, share in calls:
        costs_us = f"{share * whole_us:9.2f}  {share * whole_us * run.tokens / run.requests:10.1f}  {share:6.1%}"
        print(f"{costs_us}  {'  ' * depth}{name}")


if __name__ == "__main__":
    main()
