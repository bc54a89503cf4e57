"""SIGKILL of vLLM servers at random moments under streams whose every token is checked, then clients that hang up at random moments.

One prefill and one decode server; the other one carries on alone while the victim starts again, so a strike waits until both serve.
Whether blocks are stranded is asked of vLLM's own metrics, a lease after the last stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import signal
import time
from collections import Counter

import aiohttp
import grpc
import numpy as np
import psutil
import requests

from bench.campaign.client import body
from bench.campaign.cluster import Cluster, cluster
from bench.campaign.crowd import Crowd
from bench.harness import Bench, Check, run
from pd.v1 import worker_pb2, worker_pb2_grpc
from workers.engine.vllm.metrics import read

LEASE_S = 6
SPEC = f"""
apiVersion: pd/v1
kind: Cluster
metadata: {{name: campaign}}
spec:
  model: {{path: demo, maxLen: 2048}}
  engine: {{kind: vllm, blockTokens: 32, kvBlocks: 512, maxBatch: 16}}
  transport: {{leaseS: {LEASE_S}}}
  pools:
    - {{name: prefill, role: prefill, count: 1, resources: {{cpus: 0.1}}}}
    - {{name: decode, role: decode, count: 1, resources: {{cpus: 0.1}}}}
  tiers: [{{name: default, ttftMs: 600000, tpotMs: 600000}}]
  frontDoor: {{httpPort: 0, grpcPort: 0, requestTimeoutS: 1200, refuseLate: false}}
"""
STREAMS = 8
THINK_S = 5.0
"""Between two questions of a stream: a server that starts needs the cores too."""
PAUSE_S = 3.0
WORKERS = ("prefill-0", "decode-0")
ABORT_WITHIN_S = 1.5
START_S = 600.0
log = logging.getLogger(__name__)


def server_url(target: Cluster, worker: str) -> str:
    """Where the vLLM server of a worker listens."""
    with grpc.insecure_channel(target.workers()[worker].address) as channel:
        described = worker_pb2_grpc.WorkerStub(channel).Describe(worker_pb2.DescribeWorkerRequest(), timeout=10)
    return str(described.versions["vllm_url"])


def servers(worker_pid: int) -> list[int]:
    """Processes of a worker's vLLM server. Not the one that only waits to end the others: nothing needs it until then."""
    started = psutil.Process(worker_pid).children()
    return [p.pid for p in started] + [p.pid for s in started for p in s.children() if p.name().startswith("VLLM")]


def used_share(url: str) -> float:
    """vLLM's own word on the KV blocks in use."""
    return read(requests.get(f"{url}/metrics", timeout=30).content).kv_usage


async def strike(target: Cluster, crowd: Crowd, rng: random.Random) -> tuple[str, float]:
    """Kill one process of a server; returns the worker and the seconds until it served again."""
    await asyncio.sleep(rng.expovariate(1 / PAUSE_S))
    crowd.check()
    worker = rng.choice(WORKERS)
    before = target.workers()[worker].pid
    pid = rng.choice(servers(before))
    log.info("SIGKILL %s, process %d", worker, pid)
    started_s = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    while True:
        await asyncio.sleep(0.5)
        now = target.workers()[worker]
        if now.state == "ready" and now.pid != before:
            return worker, time.monotonic() - started_s
        if time.monotonic() - started_s > START_S:
            raise TimeoutError(f"{worker} does not come back")


async def abort(session: aiohttp.ClientSession, url: str, rng: random.Random) -> int:
    """Ask for a long answer and hang up; returns how many events came."""
    asked = body(rng, rng.randrange(2, 700), 1000)
    events = 0
    with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
        async with asyncio.timeout(rng.uniform(0, ABORT_WITHIN_S)):
            async with session.post(f"{url}/v1/completions", json=asked) as response:
                async for line in response.content:
                    events += line.startswith(b"data: {")
    return events


async def campaign(bench: Bench, kills: int, aborts: int) -> None:
    """Kills, then aborts, against one cluster."""
    rng = random.Random(bench.seed)
    with cluster(SPEC, start_s=START_S) as target:
        target.wait_ready()
        async with Crowd(target.url, STREAMS, bench.seed, pause_s=THINK_S) as crowd:
            struck = [await strike(target, crowd, rng) for _ in range(kills)]
        stranded = stranded_share(target)
        async with aiohttp.ClientSession() as session:
            events = [
                n
                for _ in range(0, aborts, 4)
                for n in await asyncio.gather(*(abort(session, target.url, rng) for _ in range(4)))
            ]
        after = stranded_share(target)
        target.wait_idle(10.0)
        target.pdctl("check")
        reasons = Counter(event["reason"] for event in json.loads(target.pdctl("get", "events", "-o", "json"))["items"])
    for worker in WORKERS:
        times_s = [seconds for name, seconds in struck if name == worker]
        if times_s:
            bench.figure(
                worker=worker, kills=len(times_s), again_s_p50=float(np.median(times_s)), again_s_max=max(times_s)
            )
    silences = [s.end_s - s.start_s for s in crowd.silences()]
    bench.figure(
        worker="clients",
        longest_silence_s=max(silences, default=0.0),
        aborts=len(events),
        aborted_in_stream=sum(map(bool, events)),
    )
    tally = crowd.tally
    bench.note(
        f"{tally.completed} answers, {tally.chunks} chunks; {tally.broken} broken, {tally.refused} refused; {dict(reasons)}"
    )
    bench.notes += tally.wrong[:10]
    bench.check(Check("wrong, lost or repeated", len(tally.wrong), "==", 0))
    bench.check(Check("answers", tally.completed, ">=", STREAMS))
    bench.check(Check("share of blocks stranded by kills", stranded, "==", 0))
    bench.check(Check("share of blocks stranded by aborts", after, "==", 0))


def stranded_share(target: Cluster) -> float:
    """What the servers say is in use, a lease and a scrape after the last stream."""
    urls = [server_url(target, worker) for worker in WORKERS]
    until_s = time.monotonic() + 3 * LEASE_S
    while (used := sum(map(used_share, urls))) and time.monotonic() < until_s:
        time.sleep(0.2)
    return used


def measure(bench: Bench) -> None:
    """60 kills and 100 aborts; 2 and 12 with --quick."""
    kills, aborts = (2, 12) if bench.quick else (60, 100)
    kills, aborts = (int(os.environ.get(name, n)) for name, n in (("TANDEM_KILLS", kills), ("TANDEM_ABORTS", aborts)))
    asyncio.run(campaign(bench, kills, aborts))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    run("campaign.vllm", measure, __doc__)
