"""Load beyond capacity: those that are let in keep their SLO, the others hear at once that they should come later.

A closed loop of more and more clients finds the capacity: the highest rate of requests that met both goals of the tier. Then
requests arrive at random (Poisson) at 1x, 2x and 3x that rate, whatever becomes of those before them. Times are measured by
the client, from the moment at which a request was due; it runs at a higher priority than the cluster where it may.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import uvloop

from bench.campaign.client import Outcome
from bench.campaign.cluster import Cluster, cluster
from bench.campaign.openloop import Mix, Slo, closed, hurry, percentile_ms, poisson
from bench.harness import Bench, Check, run

SLO = Slo(ttft_s=1.0, tpot_s=0.1)
SPEC = f"""
apiVersion: pd/v1
kind: Cluster
metadata: {{name: overload}}
spec:
  tiers:
    - {{name: interactive, ttftMs: {SLO.ttft_s * 1e3:g}, tpotMs: {SLO.tpot_s * 1e3:g}}}
  frontDoor: {{httpPort: 0, grpcPort: 0}}
"""
MIX = Mix()
LEVELS = (12, 24, 48, 96)
REFUSED_MS = 50.0
KEPT = 0.95
GOODPUT = 0.9
DROPPED = ("rejected-overloaded", "rejected-queue-full", "rejected-no-capacity")


async def capacity(target: Cluster, bench: Bench, seconds: float) -> float:
    """Requests per second that met both goals, at the best level."""
    rng = random.Random(bench.seed)
    await closed(target.url, MIX, rng, 4, 2.0)
    best = 0.0
    for clients in LEVELS:
        outcomes = await closed(target.url, MIX, rng, clients, seconds)
        best = max(best, figures(bench, f"closed {clients}", outcomes, seconds))
    return best


def figures(bench: Bench, load: str, outcomes: list[Outcome], seconds: float) -> float:
    """A row; returns the goodput in requests per second."""
    let_in = [one for one in outcomes if one.status == 200]
    refused = [one.refused_s for one in outcomes if one.status in (429, 503)]
    good = sum(SLO.met(one) for one in outcomes)
    bench.figure(
        load=load,
        requests=len(outcomes),
        let_in=len(let_in),
        goodput=good / seconds,
        kept=good / len(let_in) if let_in else 1.0,
        ttft_p50_ms=percentile_ms([one.ttft_s for one in let_in], 50),
        ttft_p95_ms=percentile_ms([one.ttft_s for one in let_in], 95),
        tpot_p50_ms=percentile_ms([one.tpot_s for one in let_in], 50),
        tpot_p95_ms=percentile_ms([one.tpot_s for one in let_in], 95),
        refused_p50_ms=percentile_ms(refused, 50),
        refused_p99_ms=percentile_ms(refused, 99),
    )
    return good / seconds


async def campaign(bench: Bench, target: Cluster, level_s: float, load_s: float) -> None:
    """Capacity, then 1x, 2x, 3x."""
    hurry()
    rate = await capacity(target, bench, level_s)
    bench.note(f"capacity: {rate:.2f} requests/s within {SLO.ttft_s * 1e3:g} ms TTFT and {SLO.tpot_s * 1e3:g} ms TPOT")
    goodput: dict[int, float] = {}
    for times in (1, 2, 3):
        outcomes = await poisson(target.url, MIX, random.Random(f"{bench.seed}/{times}"), times * rate, load_s)
        goodput[times] = figures(bench, f"{times}x", outcomes, load_s)
        check(bench, times, outcomes)
        await asyncio.to_thread(target.wait_idle, 10.0)
    bench.check(Check("goodput at 3x over goodput at 1x", goodput[3] / max(goodput[1], 1e-9), ">=", GOODPUT))
    await asyncio.to_thread(target.pdctl, "check")


def check(bench: Bench, times: int, outcomes: list[Outcome]) -> None:
    """What must hold at each load."""
    let_in = [one for one in outcomes if one.status == 200]
    refused = [one for one in outcomes if one.status in (429, 503)]
    kept = sum(SLO.met(one) for one in let_in) / max(1, len(let_in))
    silent = [one for one in refused if not (one.retry_after.isdigit() and one.reason in DROPPED)]
    bench.check(Check(f"{times}x: share of those let in that kept the SLO", kept, ">=", KEPT))
    bench.check(Check(f"{times}x: refusals without reason or Retry-After", len(silent), "==", 0))
    bench.check(Check(f"{times}x: neither answered nor refused", len(outcomes) - len(let_in) - len(refused), "==", 0))
    if refused:
        slow_ms = percentile_ms([one.refused_s for one in refused], 99)
        bench.check(Check(f"{times}x: time to a refusal, p99 in ms", slow_ms, "<=", REFUSED_MS))
        bench.note(f"{times}x refused: {dict(Counter(f'{one.status} {one.reason}' for one in refused))}")


def measure(bench: Bench) -> None:
    """30 s for each load; 8 s with --quick."""
    level_s, load_s = (3.0, 8.0) if bench.quick else (10.0, 30.0)
    with cluster(SPEC) as target:
        target.wait_ready()
        uvloop.run(campaign(bench, target, level_s, load_s))


if __name__ == "__main__":
    run("campaign.overload", measure, __doc__)
