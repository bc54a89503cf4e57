"""Speed of KV pulls between two processes, as a share of memcpy measured in the same run.

With --network: between two network namespaces, as a share of a plain socket (bench.transfer_network).
"""

from __future__ import annotations

import base64
import json
import queue
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing

import torch

from bench.harness import Bench, Check, run
from workers.engine.base import KvBlocks
from workers.engine.torch.blocks import BlockManager
from workers.transfer.base import KvPool, PullResult, Transport
from workers.transfer.factory import make_transport
from workers.transfer.hugepages import advise

BLOCK_BYTES = 64 << 10
POOL_BLOCKS = 12_288  # 768 MiB a side: at 90 % occupancy a context of 1,024 blocks still fits
PULL_BLOCKS = 1_024
OCCUPANCY = 0.9
CHURN_OPERATIONS = 100_000
TRANSPORTS = ("nixl", "gloo")
MIN_FRESH_RATIO = 0.6
MIN_CHURNED_RATIO = 0.3


def make_pool(fill: bool) -> KvPool:
    """A pool of touched pages; with `fill` every block holds its own number."""
    data = torch.zeros((POOL_BLOCKS, 1, 2, 16, 8, BLOCK_BYTES // (2 * 16 * 8 * 4)))
    if fill:
        data += torch.arange(POOL_BLOCKS).view(-1, 1, 1, 1, 1, 1)
    else:
        data.fill_(-1)
    return KvPool(data, torch.zeros(POOL_BLOCKS, dtype=torch.int64))


def churned(pool: KvPool, seed: int, operations: int = CHURN_OPERATIONS) -> KvBlocks:
    """Blocks for one context from an allocator that is full to `OCCUPANCY` and has seen `operations` takes and drops.

    Sequences start with 1 to 128 blocks, grow block by block as decoding does, and end in random order.
    """
    rng = random.Random(seed)
    manager = BlockManager(POOL_BLOCKS, pool.generations)
    sequences: list[list[int]] = []
    for _ in range(operations):
        if sequences and manager.used_blocks > OCCUPANCY * POOL_BLOCKS:
            at = rng.randrange(len(sequences))
            sequences[at], sequences[-1] = sequences[-1], sequences[at]
            manager.drop(sequences.pop())
        elif sequences and rng.random() < 0.5:
            growing = rng.choice(sequences)
            growing.extend(manager.take(1, growing[-1]))
        else:
            sequences.append(manager.take(rng.randint(1, 128)))
    return manager.describe(manager.take(PULL_BLOCKS), PULL_BLOCKS * 16)


def fresh(pool: KvPool) -> KvBlocks:
    """Blocks for one context from an unused allocator."""
    manager = BlockManager(POOL_BLOCKS, pool.generations)
    return manager.describe(manager.take(PULL_BLOCKS), PULL_BLOCKS * 16)


def serve(seed: int) -> None:
    """The source process: print metadata and leased blocks, then wait for the end of stdin."""
    pool = make_pool(fill=True)
    leases = {"churned": churned(pool, seed)}
    leases["fresh"] = fresh(pool)
    with ExitStack() as stack:
        transports = {kind: stack.enter_context(closing(make_transport(kind, "source", pool))) for kind in TRANSPORTS}
        hello = {
            "metadata": {kind: base64.b64encode(t.metadata()).decode() for kind, t in transports.items()},
            "leases": {name: [lease.blocks, lease.generations] for name, lease in leases.items()},
        }
        print(json.dumps(hello), flush=True)
        sys.stdin.read()


def pull_s(transport: Transport, source: KvBlocks, destination: KvBlocks) -> tuple[float, int]:
    """Seconds and descriptors of one pull."""
    results: queue.SimpleQueue[PullResult] = queue.SimpleQueue()
    transport.pull("source", source, destination.blocks, results.put)
    result = results.get(timeout=60)
    if result.error is not None:
        raise result.error
    return result.seconds, result.descriptors


def memcpy_s(destination: torch.Tensor, source: torch.Tensor) -> float:
    """Seconds of one single-threaded copy."""
    started_s = time.perf_counter()
    destination.copy_(source)
    return time.perf_counter() - started_s


def measure(bench: Bench) -> None:
    """Start the source, connect, and measure."""
    rounds = 15 if bench.quick else 41
    command = [sys.executable, "-m", "bench.transfer", "--serve", str(bench.seed)]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as source,
        ExitStack() as stack,
    ):
        stack.callback(source.kill)
        pool = make_pool(fill=False)
        targets = {"churned": churned(pool, bench.seed + 1), "fresh": fresh(pool)}
        assert source.stdout is not None
        hello = json.loads(source.stdout.readline())
        leases = {n: KvBlocks(tuple(b), tuple(g), PULL_BLOCKS * 16) for n, (b, g) in hello["leases"].items()}
        transports: dict[str, Transport] = {}
        for kind in TRANSPORTS:
            transports[kind] = stack.enter_context(closing(make_transport(kind, "sink", pool)))
            transports[kind].connect("source", base64.b64decode(hello["metadata"][kind]))
        compare(bench, rounds, pool, transports, leases, targets)


def compare(
    bench: Bench, rounds: int, pool: KvPool, transports: dict[str, Transport], leases: dict[str, KvBlocks],
    targets: dict[str, KvBlocks],
) -> None:  # fmt: skip
    """Interleave copies and pulls, so that a busy moment of the machine hits all of them."""
    span = pool.data[:PULL_BLOCKS]
    other = torch.ones_like(span)
    advise(other)  # the copy gets the pages that the pool has
    rows: dict[tuple[str, str], Callable[[], tuple[float, int]]] = {
        ("memcpy", "contiguous"): lambda: (memcpy_s(span, other), 1)
    }
    for kind, transport in transports.items():
        for name in ("fresh", "churned"):
            rows[kind, name] = lambda t=transport, n=name: pull_s(t, leases[n], targets[n])  # type: ignore[misc]
    for action in rows.values():
        action()  # connections and first touches
    times: dict[tuple[str, str], list[tuple[float, int]]] = {key: [] for key in rows}
    for _ in range(rounds):
        for key, action in rows.items():
            times[key].append(action())
    for name in ("fresh", "churned"):
        ids, values = list(targets[name].blocks), torch.tensor(leases[name].blocks, dtype=torch.float32)
        pool.data[ids] = -1.0
        pull_s(transports["nixl"], leases[name], targets[name])
        correct = bool((pool.data[ids].flatten(1) == values[:, None]).all())
        bench.check(Check(f"{name}_bytes_correct", correct, "==", 1))
    copied_gb = PULL_BLOCKS * BLOCK_BYTES / 1e9
    seconds = {key: [s for s, _ in taken] for key, taken in times.items()}
    copies_s = seconds["memcpy", "contiguous"]
    for key, taken in seconds.items():
        bench.figure(
            transport=key[0], blocks=key[1], mib=PULL_BLOCKS * BLOCK_BYTES >> 20, descriptors=times[key][0][1],
            best_gb_per_s=copied_gb / min(taken), best_of_memcpy=min(copies_s) / min(taken),
            median_gb_per_s=copied_gb / statistics.median(taken),
            median_of_memcpy=statistics.median(copies_s) / statistics.median(taken),
        )  # fmt: skip
    bench.note(
        f"{rounds} rounds; the checks compare the best of each, since a copy of 5 ms is preempted on a busy machine"
    )
    for name, bound in (("fresh", MIN_FRESH_RATIO), ("churned", MIN_CHURNED_RATIO)):
        bench.check(Check(f"nixl_{name}_of_memcpy", min(copies_s) / min(seconds["nixl", name]), ">=", bound))


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["--serve"]:
        serve(int(sys.argv[2]))
        sys.exit(0)
    if "--network" in sys.argv:
        sys.argv.remove("--network")
        from bench import transfer_network

        run("transfer", transfer_network.measure_network, transfer_network.__doc__)
    run("transfer", measure, __doc__)
