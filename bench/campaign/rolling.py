"""A loaded worker is drained, and all workers are restarted one by one, under streams whose every token is checked.

No client may see an error: no broken connection, no refusal, no lost, repeated or wrong token.
"""

from __future__ import annotations

import asyncio
import time

from bench.campaign.cluster import Cluster, cluster
from bench.campaign.crowd import Crowd
from bench.harness import Bench, Check, run

SPEC = """
apiVersion: pd/v1
kind: Cluster
metadata: {name: rolling}
spec:
  frontDoor: {httpPort: 0, grpcPort: 0}
"""
STREAMS = 16
BUDGET = "30s"
REST_S = 2.0


async def timed(bench: Bench, crowd: Crowd, what: str, *steps: object) -> None:
    """Do it, and add a row: how long it took, and the longest silence of any client meanwhile."""
    started_s = time.monotonic()
    for step in steps:
        await asyncio.to_thread(step)  # type: ignore[arg-type]
    took_s = time.monotonic() - started_s
    await asyncio.sleep(REST_S)
    crowd.check()
    lasted = [one.end_s - one.start_s for one in crowd.silences() if one.end_s > started_s]
    bench.figure(what=what, seconds=took_s, silence_s=max(lasted, default=0.0), answers=crowd.tally.completed)


async def campaign(bench: Bench, target: Cluster, rounds: int) -> None:
    """Drain and resume, then restart everything."""

    def drain() -> None:
        busy = target.workers()["decode-0"].running
        target.pdctl("drain", "decode-0", "--budget", BUDGET)
        target.wait("decode-0 drained", lambda: target.workers()["decode-0"].state == "drained")
        bench.note(f"decode-0 ran {busy} requests when it was drained")

    def resume() -> None:
        target.pdctl("drain", "decode-0", "--resume")
        target.wait_ready()

    async with Crowd(target.url, STREAMS, bench.seed) as crowd:
        await asyncio.sleep(REST_S)
        for _ in range(rounds):
            before = {name: worker.incarnation for name, worker in target.workers().items()}
            await timed(bench, crowd, "drain", drain)
            await timed(bench, crowd, "resume", resume)
            await timed(bench, crowd, "restart all", lambda: target.pdctl("restart", "all"), target.wait_ready)
            now = target.workers()
            same = [name for name, incarnation in before.items() if now[name].incarnation == incarnation]
            bench.check(Check("workers that were not restarted", len(same), "==", 0))
    await asyncio.to_thread(target.wait_idle, 10.0)
    await asyncio.to_thread(target.pdctl, "check")
    tally = crowd.tally
    bench.note(f"{tally.completed} answers, {tally.chunks} chunks")
    bench.notes += tally.wrong[:5]
    bench.check(Check("wrong, lost or repeated", len(tally.wrong), "==", 0))
    bench.check(Check("broken connections", tally.broken, "==", 0))
    bench.check(Check("refusals", tally.refused, "==", 0))


def measure(bench: Bench) -> None:
    """Three rounds; one with --quick."""
    with cluster(SPEC) as target:
        target.wait_ready()
        asyncio.run(campaign(bench, target, 1 if bench.quick else 3))


if __name__ == "__main__":
    run("campaign.rolling", measure, __doc__)
