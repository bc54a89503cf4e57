"""Mixed load at 80 % of capacity for minutes, with an engine killed every 20 s.

Arrivals are Poisson. Goodput is requests that came whole within the goals of the default tier; it must never be zero for more
than 3 s. Those whose front door refused them are counted; whatever else is no whole answer is an error. Memory of front doors
and hosts, which nobody kills, is sampled all along; at the end every block is free.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter

import numpy as np
import uvloop

from bench.campaign.client import Outcome
from bench.campaign.cluster import Cluster, cluster
from bench.campaign.footprint import Footprint, footprints
from bench.campaign.openloop import Mix, Slo, closed, hurry, percentile_ms, poisson
from bench.campaign.victims import victims
from bench.harness import Bench, Check, run

SPEC = """
apiVersion: pd/v1
kind: Cluster
metadata: {name: soak}
spec:
  frontDoor: {httpPort: 0, grpcPort: 0, processes: 2}
"""
SLO = Slo(ttft_s=2.0, tpot_s=0.2)
MIX = Mix(prompt_tokens=(16, 600), output_tokens=(8, 128))
SHARE = 0.8
CLIENTS = 48
KILL_EVERY_S = 20.0
SAMPLE_EVERY_S = 5.0
LONGEST_GAP_S = 3.0
MINUTES = 20.0
GROWTH = 0.05
"""Growth of a front door's or host's memory over the whole run that counts as none, as a share."""
Samples = dict[str, list[tuple[float, Footprint]]]


async def kill_engines(target: Cluster, rng: random.Random, killed: Counter[str]) -> None:
    """One every KILL_EVERY_S, the first after half of that, any but the last decode worker; until cancelled."""
    await asyncio.sleep(KILL_EVERY_S / 2)
    while True:
        found = [one for kind in ("decode engine", "prefill engine") for one in victims(target, kind)]
        if found:
            victim = rng.choice(found)
            os.kill(victim.pid, signal.SIGKILL)
            killed[victim.name] += 1
            await asyncio.sleep(KILL_EVERY_S)
        else:
            await asyncio.sleep(0.5)


async def sample(target: Cluster, samples: Samples) -> None:
    """Memory and descriptors of what nobody kills; until cancelled."""
    while True:
        try:
            found = await asyncio.to_thread(footprints, target, engines=False)
        except OSError:  # a process ended while it was looked at
            found = {}
        for name, one in found.items():
            samples.setdefault(name, []).append((time.monotonic(), one))
        await asyncio.sleep(SAMPLE_EVERY_S)


async def campaign(bench: Bench, target: Cluster, seconds: float) -> None:
    """Capacity, then the load."""
    hurry()
    rng = random.Random(bench.seed)
    level_s = 5.0 if bench.quick else 20.0
    await closed(target.url, MIX, rng, 4, 2.0)
    warm = await closed(target.url, MIX, rng, CLIENTS, level_s)
    capacity = sum(SLO.met(one) for one in warm) / level_s
    killed: Counter[str] = Counter()
    samples: Samples = {}
    tasks = [
        asyncio.create_task(kill_engines(target, random.Random(f"{bench.seed}/victims"), killed)),
        asyncio.create_task(sample(target, samples)),
    ]
    started_s = time.monotonic()
    outcomes = await poisson(target.url, MIX, rng, SHARE * capacity, seconds)
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.to_thread(target.wait_ready)
    await asyncio.to_thread(target.wait_idle, 10.0)
    await asyncio.to_thread(target.pdctl, "check")
    bench.notes += [f"{one!r}" for one in ended if not isinstance(one, asyncio.CancelledError)]
    report_load(bench, capacity, outcomes, started_s, seconds, killed)
    report_memory(bench, samples)


def longest_gap_s(moments: list[float], start_s: float, seconds: float) -> float:
    """Longest time without one of `moments` from start to end."""
    edges = [start_s, *sorted(moment for moment in moments if moment < start_s + seconds), start_s + seconds]
    return float(np.diff(edges).max())


def report_load(
    bench: Bench, capacity: float, outcomes: list[Outcome], start_s: float, seconds: float, killed: Counter[str]
) -> None:
    """What became of the requests."""
    good = [one for one in outcomes if SLO.met(one)]
    whole = sum(one.whole for one in outcomes)
    refused = [one for one in outcomes if one.status in (429, 503)]
    wrong = [one for one in outcomes if not one.whole and one not in refused]
    gap_s = longest_gap_s([one.due_s + one.ended_s for one in good], start_s, seconds)
    bench.figure(
        requests=len(outcomes),
        per_s=len(outcomes) / seconds,
        capacity_per_s=capacity,
        goodput_per_s=len(good) / seconds,
        whole=whole,
        refused=len(refused),
        errors=len(wrong),
        longest_gap_s=gap_s,
        ttft_p50_ms=percentile_ms([one.ttft_s for one in outcomes], 50),
        ttft_p99_ms=percentile_ms([one.ttft_s for one in outcomes], 99),
        tpot_p50_ms=percentile_ms([one.tpot_s for one in outcomes], 50),
    )
    bench.note(f"killed: {dict(sorted(killed.items()))}; refused: {dict(Counter(one.reason for one in refused))}")
    bench.notes += [f"error: {one.status} {one.error}" for one in wrong[:5]]
    bench.check(Check("longest time without goodput in s", gap_s, "<=", LONGEST_GAP_S))
    bench.check(Check("errors", len(wrong), "==", 0))
    bench.check(Check("kills", killed.total(), ">=", seconds / KILL_EVERY_S / 2))


def report_memory(bench: Bench, samples: Samples) -> None:
    """Memory and descriptors of front doors and hosts; the first quarter is warm-up."""
    worst = 0.0
    for name, series in sorted(samples.items()):
        kept = series[len(series) // 4 :]
        if len(kept) < 3:
            continue
        minutes = (np.array([moment for moment, _ in kept]) - kept[0][0]) / 60
        rss = np.array([one.rss_bytes for _, one in kept], dtype=float)
        slope = float(np.polyfit(minutes, rss, 1)[0])
        worst = max(worst, slope * float(minutes[-1]) / float(rss[0]))
        bench.figure(
            process=name,
            rss_MiB=float(rss[0]) / 2**20,
            rss_end_MiB=float(rss[-1]) / 2**20,
            slope_KiB_per_min=slope / 1024,
            descriptors=kept[0][1].descriptors,
            descriptors_end=kept[-1][1].descriptors,
            threads_end=kept[-1][1].threads,
        )
    bench.check(Check("growth of memory (share)", worst, "<=", GROWTH))


def measure(bench: Bench) -> None:
    """20 minutes, or TANDEM_SOAK_MINUTES; 36 s with --quick."""
    seconds = 36.0 if bench.quick else 60 * float(os.environ.get("TANDEM_SOAK_MINUTES", MINUTES))
    with cluster(SPEC) as target:
        target.wait_ready()
        uvloop.run(campaign(bench, target, seconds))


if __name__ == "__main__":
    run("campaign.soak", measure, __doc__)
