"""SIGKILL and SIGSTOP at random moments, over all kinds of process, under streams whose every token is checked.

Strikes follow each other at random distances. What was hit comes back while the next ones are struck, as long as another
decode worker and another front door live. Reported for each kind: the longest silence of any client that began after a strike
and before the next one (p50, p99 over strikes), and the time until another process did the victim's work. A stopped host whose
engine serves is left alone by design; it is continued after CONTINUE_S.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import json
import logging
import math
import os
import random
import signal
import time
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np

from bench.campaign.cluster import POLL_S, Cluster, cluster
from bench.campaign.crowd import Crowd, Silence
from bench.campaign.victims import KINDS, Victim, victims
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
PAUSE_S = 1.5
SLACK_S = 0.1
"""A client's last token before a strike may be this old."""
REPLACED_S = 180.0
LONG_S = 8.0
"""Longer silences are named; a hung front door is replaced after 5 s."""
CONTINUE_S = 15.0
log = logging.getLogger(__name__)
Plan = list[tuple[str, signal.Signals]]


@dataclass(slots=True)
class Strike:
    """One hit. `silence_s` is the longest that any client waited for a token, `replaced_s` the time until another process served."""

    victim: Victim
    signal: signal.Signals
    at_s: float
    silence_s: float = 0.0
    replaced_s: float = math.nan


def plan(seed: int, kills: int, stops: int) -> Plan:
    """Kinds in turn, so that each has its share, in a seeded order."""
    numbers = [signal.SIGKILL] * kills + [signal.SIGSTOP] * stops
    order = [(KINDS[i % len(KINDS)], number) for i, number in enumerate(numbers)]
    random.Random(seed).shuffle(order)
    return order


async def choose(target: Cluster, rng: random.Random, left: Plan) -> tuple[Victim, signal.Signals]:
    """Take the first planned strike that is allowed now; wait if none is."""
    started_s = time.monotonic()
    while True:
        for position, (kind, number) in enumerate(left):
            if found := victims(target, kind):
                del left[position]
                return rng.choice(found), number
        if time.monotonic() > started_s + REPLACED_S:
            raise TimeoutError(f"nothing can be struck: {target.store.list('endpoint')}")
        await asyncio.sleep(0.2)


async def replaced(one: Strike) -> Strike:
    """Wait until another process does the victim's work. Raises TimeoutError."""
    victim = one.victim
    may_stay = victim.kind == "worker host" and one.signal is signal.SIGSTOP
    until_s = one.at_s + (CONTINUE_S if may_stay else REPLACED_S)
    while not victim.replaced():
        if time.monotonic() > until_s:
            if not may_stay:
                raise TimeoutError(f"{one.signal.name} {victim.kind} {victim.name} ({victim.pid}): not replaced")
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim.pid, signal.SIGCONT)
            return one
        await asyncio.sleep(POLL_S)
    one.replaced_s = time.monotonic() - one.at_s
    return one


async def strike_all(target: Cluster, crowd: Crowd, seed: int, left: Plan) -> list[Strike]:
    """Every planned strike; returns when all victims have been replaced."""
    rng = random.Random(f"{seed}/victims")
    async with asyncio.TaskGroup() as group:
        coming: list[asyncio.Task[Strike]] = []
        while left:
            await asyncio.sleep(rng.expovariate(1 / PAUSE_S))
            victim, number = await choose(target, rng, left)
            crowd.check()
            one = Strike(victim, number, time.monotonic())
            os.kill(victim.pid, number)
            log.info("%s %s %s (%d)", number.name, victim.kind, victim.name, victim.pid)
            coming.append(group.create_task(replaced(one)))
    return [task.result() for task in coming]


async def campaign(bench: Bench, kills: int, stops: int) -> None:
    """All strikes against one cluster."""
    with cluster(SPEC) as target:
        target.wait_ready()
        started_s = time.monotonic()
        async with Crowd(target.url, STREAMS, bench.seed) as crowd:
            strikes = await strike_all(target, crowd, bench.seed, plan(bench.seed, kills, stops))
        target.wait_ready()
        target.wait_idle(10.0)
        target.pdctl("check")
        took_s = time.monotonic() - started_s
        events = json.loads(target.pdctl("get", "events", "-o", "json"))["items"]
    attribute(strikes, crowd.silences())
    report(bench, strikes, crowd)
    reasons = Counter(event["reason"] for event in events)
    bench.note(f"{took_s:.0f} s; events: {', '.join(f'{name} {n}' for name, n in sorted(reasons.items()))}")


def attribute(strikes: list[Strike], silences: list[Silence]) -> None:
    """Give each silence to the last strike before it."""
    moments = [one.at_s - SLACK_S for one in strikes]
    for silence in silences:
        if position := bisect.bisect_right(moments, silence.start_s):
            one = strikes[position - 1]
            one.silence_s = max(one.silence_s, silence.end_s - silence.start_s)


def report(bench: Bench, strikes: list[Strike], crowd: Crowd) -> None:
    """Figures for each kind and signal, and the checks."""
    groups: defaultdict[tuple[str, str], list[Strike]] = defaultdict(list)
    for one in strikes:
        groups[one.signal.name, one.victim.kind].append(one)
        groups[one.signal.name, "all"].append(one)
    for (name, kind), members in sorted(groups.items()):
        row: dict[str, float] = {}
        for field in ("silence_s", "replaced_s"):
            values = [value for one in members if not math.isnan(value := getattr(one, field))]
            if values:
                row |= {f"{field}_p50": float(np.median(values)), f"{field}_p99": float(np.percentile(values, 99))}
        bench.figure(signal=name, kind=kind, strikes=len(members), **row)
    first_s = strikes[0].at_s
    bench.notes += [
        f"silence of {one.silence_s:.1f} s after {one.signal.name} of {one.victim.kind} {one.victim.name} at {one.at_s - first_s:.1f} s"
        for one in strikes
        if one.silence_s > LONG_S
    ]
    tally = crowd.tally
    bench.note(
        f"{tally.completed} answers, {tally.chunks} chunks; {tally.broken} connections broken, {tally.refused} refusals"
    )
    bench.notes += tally.wrong[:10]
    bench.check(Check("wrong, lost or repeated", len(tally.wrong), "==", 0))
    bench.check(Check("answers", tally.completed, ">=", STREAMS))


def measure(bench: Bench) -> None:
    """300 SIGKILL and 100 SIGSTOP; one of each for every kind with --quick."""
    kills, stops = (5, 5) if bench.quick else (300, 100)
    kills, stops = (int(os.environ.get(name, n)) for name, n in (("TANDEM_KILLS", kills), ("TANDEM_STOPS", stops)))
    asyncio.run(campaign(bench, kills, stops))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    run("campaign.kills", measure, __doc__)
