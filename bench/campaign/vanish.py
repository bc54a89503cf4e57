"""Clients that vanish at random moments, a fifth of them in the middle of a KV transfer: nothing of theirs may stay.

Over HTTP, streamed and not, and over gRPC. To vanish in the middle of a transfer a client with a long prompt hangs up the
moment it hears its first token, which is when the decode worker begins to pull; the front door's record of the request then
tells whether its handoff was really under way, and more such clients are sent until they are a fifth of all. After each
round: every block, lease, reservation and ledger entry is free, and front door, workers and hosts have no more file
descriptors, threads or asyncio tasks than after the warm-up; memory is flat over the rounds. The warm-up fills what a front door
remembers of requests that are over.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from enum import StrEnum
from itertools import count

import grpc
import numpy as np

from bench.campaign.client import EVENT, body, connect, encode
from bench.campaign.cluster import Cluster, cluster
from bench.campaign.footprint import Footprint, footprints
from bench.harness import Bench, Check, run
from orchestrator.frontend.history import KEPT
from pd.v1 import admin_pb2, admin_pb2_grpc, routing_pb2, routing_pb2_grpc, worker_pb2

SPEC = """
apiVersion: pd/v1
kind: Cluster
metadata: {name: vanish}
spec:
  frontDoor: {httpPort: 0, grpcPort: 0}
"""
CLIENTS, ROUND, AT_ONCE = 1000, 100, 16
WARM_UP = 2 * KEPT + 2 * ROUND
"""Clients after which memory stays what it is: the records of the last requests have replaced each other once."""
SHARE = 0.2
LIFE_S = 1.5
PATIENT_MS = 600_000.0
"""Goals that nobody is refused for."""
PROMPT_TOKENS, LONG_TOKENS, OUTPUT_TOKENS = 120, 800, 200
SETTLED_S = 15.0
FLAT, FLAT_QUICK = 0.02, 0.06
"""Growth of memory over all rounds that counts as none, as a share; allocators settle within the first few hundred clients."""


class Way(StrEnum):
    """How a client asks and when it goes."""

    STREAM = "HTTP, streamed"
    WHOLE = "HTTP, whole"
    GRPC = "gRPC"
    TRANSFER = "HTTP, at the first token"
    GRPC_TRANSFER = "gRPC, at the first token"


TRANSFERS = (Way.TRANSFER, Way.GRPC_TRANSFER)


class Vanishing:
    """Sends clients and remembers whose transfer they left in the middle."""

    def __init__(self, target: Cluster, seed: int) -> None:
        self.ways: Counter[Way] = Counter()
        self.in_transfer = 0
        self._target, self._rng = target, random.Random(seed)
        self._numbers = count()
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._channel = grpc.aio.insecure_channel(target.grpc)
        self._admin = admin_pb2_grpc.AdminStub(self._channel)

    async def close(self) -> None:
        await self._channel.close()

    async def round(self, clients: int) -> None:
        """This many clients come and go; the share that must be hit in a transfer is reached with more of that kind."""
        ways = [self._rng.choice((Way.STREAM, Way.WHOLE, Way.GRPC)) for _ in range(round(clients * (1 - SHARE)))]
        wanted = self.in_transfer + clients - len(ways)
        ways += [TRANSFERS[i % 2] for i in range(clients - len(ways))]
        self._rng.shuffle(ways)
        await asyncio.gather(*(self._one(way) for way in ways))
        for i in range(10 * clients):
            if self.in_transfer >= wanted:
                return
            await self._one(TRANSFERS[i % 2])
        raise TimeoutError(f"only {self.in_transfer} of {wanted} clients were hit in a transfer")

    async def _one(self, way: Way) -> None:
        async with self._gate:
            name = f"vanish-{next(self._numbers)}"
            long = LONG_TOKENS if way in TRANSFERS else PROMPT_TOKENS
            request = body(self._rng, long, OUTPUT_TOKENS, stream=way is not Way.WHOLE)
            life_s, abrupt = self._rng.uniform(0.0, LIFE_S), self._rng.random() < 0.5
            if way in (Way.GRPC, Way.GRPC_TRANSFER):
                await self._by_grpc(name, request["prompt"], None if way in TRANSFERS else life_s)
            else:
                await self._by_http(name, request, None if way in TRANSFERS else life_s, abrupt)
        self.ways[way] += 1
        if way in TRANSFERS:
            self.in_transfer += await self._was_in_transfer(name)

    async def _by_http(self, name: str, request: dict[str, object], life_s: float | None, abrupt: bool) -> None:
        reader, writer = await connect(self._target.url)
        goals = {"x-slo-ttft-ms": f"{PATIENT_MS:g}", "x-slo-tpot-ms": f"{PATIENT_MS:g}"}
        writer.write(encode(self._target.url, request, {"X-Request-Id": name, **goals}))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(life_s):
                data = b""
                while more := await reader.read(65536):
                    data += more
                    if life_s is None and EVENT in data:
                        break
        if abrupt:
            writer.transport.abort()
        writer.close()

    async def _by_grpc(self, name: str, prompt: list[int], life_s: float | None) -> None:
        request = routing_pb2.GenerateRequest(
            request_id=name,
            token_ids=routing_pb2.TokenIds(ids=prompt),
            sampling=worker_pb2.SamplingParameters(max_tokens=OUTPUT_TOKENS, ignore_eos=True),
            slo=routing_pb2.ServiceLevel(ttft_ms=PATIENT_MS, tpot_ms=PATIENT_MS),
        )
        call = routing_pb2_grpc.RouterStub(self._channel).Generate(request)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(life_s):
                async for _ in call:
                    if life_s is None:
                        break
        call.cancel()

    async def _was_in_transfer(self, name: str) -> bool:
        """Its handoff had begun and had not ended when the front door heard that the client was gone."""
        while True:
            detail = await self._admin.DescribeRequest(admin_pb2.NameRequest(name=name))
            if detail.request.state in ("finished", "cancelled", "failed"):
                break
            await asyncio.sleep(0.01)
        stages = {stage.name: stage for stage in detail.stages}
        handoff = stages.get("handoff")
        return detail.request.state == "cancelled" and handoff is not None and "MiB" not in handoff.detail


async def settled(target: Cluster, before: dict[str, Footprint]) -> dict[str, dict[str, int]]:
    """What processes have too much of, once they had time to give it back. Raises TimeoutError where blocks stay."""
    await asyncio.to_thread(target.wait_idle, SETTLED_S)
    grown: dict[str, dict[str, int]] = {}
    for _ in range(int(SETTLED_S)):
        now = await asyncio.to_thread(footprints, target)
        grown = {name: more for name, one in now.items() if (more := one.grown(before[name]))}
        if not grown:
            break
        await asyncio.sleep(1.0)
    return grown


async def campaign(bench: Bench, target: Cluster, clients: int, warm_up: int = ROUND // 2) -> None:
    """Warm up, then the rounds."""
    crowd = Vanishing(target, bench.seed)
    try:
        await crowd.round(warm_up)
        await asyncio.to_thread(target.wait_idle, SETTLED_S)
        before = await asyncio.to_thread(footprints, target)
        crowd.ways.clear()
        crowd.in_transfer = 0
        sizes: dict[str, list[int]] = {name: [one.rss_bytes] for name, one in before.items()}
        grown: dict[str, dict[str, int]] = {}
        each = min(ROUND, clients // 4)
        for _ in range(clients // each):
            await crowd.round(each)
            grown = await settled(target, before)
            for name, one in (await asyncio.to_thread(footprints, target)).items():
                sizes[name].append(one.rss_bytes)
        await asyncio.to_thread(target.pdctl, "check")
    finally:
        await crowd.close()
    report(bench, crowd, before, grown, sizes)


def report(
    bench: Bench,
    crowd: Vanishing,
    before: dict[str, Footprint],
    grown: dict[str, dict[str, int]],
    sizes: dict[str, list[int]],
) -> None:
    """One row for each process, and the checks."""
    worst = 0.0
    for name, values in sizes.items():
        slope = float(np.polyfit(range(len(values)), values, 1)[0])
        worst = max(worst, slope * (len(values) - 1) / values[0])
        one = before[name]
        bench.figure(
            process=name,
            descriptors=one.descriptors,
            threads=one.threads,
            tasks=one.tasks,
            more=str(grown.get(name, "")),
            rss_MiB=values[0] / 2**20,
            rss_end_MiB=values[-1] / 2**20,
            slope_KiB_per_100_clients=slope * 100 / (crowd.ways.total() / (len(values) - 1)) / 1024,
        )
    bench.note(
        f"{', '.join(f'{way}: {n}' for way, n in sorted(crowd.ways.items()))}; in a transfer: {crowd.in_transfer}"
    )
    bench.check(Check("share that vanished in a transfer", crowd.in_transfer / crowd.ways.total(), ">=", SHARE * 0.75))
    bench.check(
        Check("descriptors, threads and tasks left over", sum(sum(g.values()) for g in grown.values()), "==", 0)
    )
    bench.check(Check("growth of memory over the rounds (share)", worst, "<=", FLAT_QUICK if bench.quick else FLAT))


def measure(bench: Bench) -> None:
    """1,000 clients; 100 with --quick."""
    sizes = (100,) if bench.quick else (CLIENTS, WARM_UP)
    with cluster(SPEC) as target:
        target.wait_ready()
        asyncio.run(campaign(bench, target, *sizes))


if __name__ == "__main__":
    run("campaign.vanish", measure, __doc__)
