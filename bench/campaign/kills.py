"""SIGKILL and SIGSTOP at random moments, over all kinds of process, under streams whose every token is checked.

Each strike waits for a random moment, hits one process, and lets the cluster replace it before the next. Reported for each kind:
the longest silence that any client heard (p50, p99), and the time until another process did the victim's work.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from bench.campaign.cluster import Cluster, cluster
from bench.campaign.crowd import Crowd
from bench.campaign.victims import KINDS, victims
from bench.harness import Bench, Check, run

SPEC = """
apiVersion: pd/v1
kind: Cluster
metadata: {name: campaign}
spec:
  pools:
    - {name: prefill, role: prefill, count: 1}
    - {name: decode, role: decode, count: 2}
  frontDoor: {httpPort: 0, grpcPort: 0, processes: 2, maxConcurrent: 64}
"""
STREAMS = 16
PAUSE_S = 1.0
REPLACED_S = 120.0


@dataclass(frozen=True, slots=True)
class Strike:
    """One hit. `silence_s` is the longest that any client waited for a token, `replaced_s` the time until another process served."""

    kind: str
    signal: signal.Signals
    silence_s: float
    replaced_s: float


async def strike(target: Cluster, crowd: Crowd, rng: random.Random, number: signal.Signals) -> Strike:
    """Hit one process at a random moment; returns when it has been replaced and every client has heard something since."""
    await asyncio.sleep(rng.uniform(0.0, PAUSE_S))
    kind = rng.choice(KINDS)
    victim = rng.choice(victims(target, kind))
    crowd.reset()
    struck_s = time.monotonic()
    os.kill(victim.pid, number)
    await asyncio.to_thread(target.wait, f"{kind} {victim.name} replaced", victim.replaced, REPLACED_S)
    replaced_s = time.monotonic() - struck_s
    await asyncio.to_thread(target.wait_ready)
    return Strike(kind, number, crowd.silence_s(), replaced_s)


async def campaign(bench: Bench, kills: int, stops: int) -> None:
    """All strikes in a seeded order."""
    rng = random.Random(bench.seed)
    order = [signal.SIGKILL] * kills + [signal.SIGSTOP] * stops
    rng.shuffle(order)
    with cluster(SPEC) as target:
        target.wait_ready()
        async with Crowd(target.url, STREAMS, bench.seed) as crowd:
            strikes = [await strike(target, crowd, rng, number) for number in order]
        target.wait_idle(10.0)
        target.pdctl("check")
    report(bench, strikes, crowd)


def report(bench: Bench, strikes: list[Strike], crowd: Crowd) -> None:
    groups: defaultdict[tuple[str, str], list[Strike]] = defaultdict(list)
    for one in strikes:
        groups[one.signal.name, one.kind].append(one)
        groups[one.signal.name, "all"].append(one)
    for (name, kind), members in sorted(groups.items()):
        row: dict[str, float] = {}
        for field in ("silence_s", "replaced_s"):
            values = [getattr(one, field) for one in members]
            row |= {f"{field}_p50": float(np.median(values)), f"{field}_p99": float(np.percentile(values, 99))}
        bench.figure(signal=name, kind=kind, strikes=len(members), **row)
    tally = crowd.tally
    bench.note(
        f"{tally.completed} answers, {tally.chunks} chunks; {tally.broken} connections broken, {tally.refused} refusals"
    )
    bench.notes += tally.wrong[:10]
    bench.check(Check("wrong, lost or repeated", len(tally.wrong), "==", 0))
    bench.check(Check("answers", tally.completed, ">=", STREAMS))


def measure(bench: Bench) -> None:
    """300 SIGKILL and 100 SIGSTOP; a few of each with --quick."""
    kills, stops = (4, 1) if bench.quick else (300, 100)
    kills, stops = (int(os.environ.get(name, n)) for name, n in (("TANDEM_KILLS", kills), ("TANDEM_STOPS", stops)))
    asyncio.run(campaign(bench, kills, stops))


if __name__ == "__main__":
    run("campaign.kills", measure, __doc__)
