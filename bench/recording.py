"""What recording costs: time per decision on the event loop with recording off and on, and bytes per decision on disk."""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.harness import Bench, Check, run
from orchestrator.core.cluster import Role
from orchestrator.core.request import RequestView
from orchestrator.policies.registry import make
from orchestrator.recording.log import DecisionLog
from orchestrator.recording.policies import recorded
from orchestrator.routing.router import Report, Router
from orchestrator.simulator.from_record import replay_record

WORKERS = (4, 16, 1000)
PROMPT_TOKENS, BLOCK_TOKENS = 1000, 16
PAUSE_S = 0.004
"""Between requests, as a front door has them at 250 requests/s: the writer gets its turn."""
MOST_US = 60.0
"""Recording may add this much to the median decision of a cluster of 16 workers."""


def decide(workers: int, requests: int, log: DecisionLog | None, seed: int) -> list[float]:
    """Microseconds per decision of each request: admission and two placements."""
    router = Router(recorded(make("routing", "prefix_aware"), log))
    admission = recorded(make("admission", "fcfs"), log)
    for i in range(workers):
        router.set_worker(f"worker-{i}", Role.DECODE if i % 2 else Role.PREFILL, True)
        router.report(f"worker-{i}", Report(0, 0, 0, 0, 0, 100_000, BLOCK_TOKENS, 0.01))
    rng = np.random.default_rng(seed)
    times = []
    for i in range(requests):
        hashes = rng.integers(0, 2**63, PROMPT_TOKENS // BLOCK_TOKENS).astype(np.uint64)
        request = RequestView(f"request-{i}", PROMPT_TOKENS, 100, time.monotonic(), block_hashes=hashes)
        began_s = time.perf_counter()
        admission.admit([request], 5, 10**6, BLOCK_TOKENS, 256)
        prefill = router.place_prefill(request)
        router.place_decode(request, prefill.worker)
        times.append((time.perf_counter() - began_s) * 1e6 / 3)
        time.sleep(PAUSE_S)
    return times


def measure(bench: Bench) -> None:
    requests = 400 if bench.quick else 4000
    gc.collect()
    for workers in WORKERS:
        off = decide(workers, requests, None, bench.seed)
        with tempfile.TemporaryDirectory() as directory:
            log = DecisionLog(Path(directory) / "decisions.jsonl.gz", 3 * requests, "bench")
            on = decide(workers, requests, log, bench.seed)
            log.close()
            size_bytes, report = log.path.stat().st_size, replay_record(log.path)
        bench.figure(
            workers=workers,
            off_us=statistics.median(off),
            on_us=statistics.median(on),
            on_p99_us=float(np.percentile(on, 99)),
            bytes_per_decision=size_bytes / (3 * requests),
        )
        bench.check(Check(f"different at {workers} workers", report.different, "==", 0))
        bench.check(Check(f"recorded at {workers} workers", report.decisions, "==", 3 * requests))
        if workers == 16:
            bench.check(Check("added at 16 workers, us", statistics.median(on) - statistics.median(off), "<=", MOST_US))


if __name__ == "__main__":
    run("recording", measure, __doc__)
