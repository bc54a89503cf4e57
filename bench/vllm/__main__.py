"""Tandem against a minimal proxy, both in front of the same two vLLM servers: TTFT, ITL, throughput and processor time per token.

Both stream the same requests, in pairs of rounds that change their order. Differences are taken within a pair; their 95 % intervals
come from Student's t over the pairs. `itl_ms` counts every gap, `itl_decode_ms` not that between the first two tokens: the proxy shows
a token only when the decode server has one, so that what a handoff takes is part of its TTFT and never of its ITL. A server that the
cluster runs costs processor time even when it is idle (Ray, controller): that is measured apart and part of `all`.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import psutil
import requests as http

from bench.campaign.cluster import Cluster, cluster
from bench.campaign.vllm import SPEC, START_S, server_url
from bench.harness import Bench, Check, run
from bench.vllm.cpu import cluster_cpu
from bench.vllm.load import Seen, drive, requests_of

T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""Student's t for a 95 % interval over n pairs."""
PAIRS = 10
CLIENTS = 16
REQUESTS = 48
PROMPT_TOKENS = 200
MAX_TOKENS = 128
TOTAL_SHARE = 1.03


@dataclass(frozen=True, slots=True)
class Round:
    """One run of all requests through one of the two. CPU in seconds, of everything but vLLM (`own_s`) and of all (`all_s`)."""

    seen: Seen
    own_s: float
    all_s: float
    serving_s: float

    def row(self) -> dict[str, float]:
        """Milliseconds, microseconds of CPU per token, tokens per second."""
        seen = self.seen
        return {
            "ttft_ms": 1e3 * statistics.mean(seen.ttft_s),
            "itl_ms": 1e3 * statistics.mean(seen.handoff_s + seen.gaps_s),
            "itl_decode_ms": 1e3 * statistics.mean(seen.gaps_s),
            "request_ms": 1e3 * statistics.mean(seen.whole_s),
            "tokens_per_s": seen.tokens / seen.took_s,
            "cpu_us_per_token": 1e6 * self.own_s / seen.tokens,
            "serving_us_per_token": 1e6 * self.serving_s / seen.tokens,
            "all_us_per_token": 1e6 * self.all_s / seen.tokens,
        }


def version_of(url: str) -> str:
    """Of a vLLM server."""
    return str(http.get(f"{url}/version", timeout=10).json()["version"])


def interval(differences: list[float]) -> tuple[float, float]:
    """Mean of the differences, and half the width of its 95 % interval."""
    n = len(differences)
    return statistics.mean(differences), T_95[n] * float(np.std(differences, ddof=1)) / n**0.5


def measured(url: str, seed: int, requests: int, cpu: Callable[[], tuple[float, float, float]]) -> Round:
    """`cpu` tells seconds so far: of everything but vLLM, of vLLM, of what serves."""
    bodies = requests_of(seed, requests, PROMPT_TOKENS, MAX_TOKENS, "demo")
    own_s, vllm_s, serving_s = cpu()
    seen = asyncio.run(drive(url, bodies, CLIENTS))
    own_end_s, vllm_end_s, serving_end_s = cpu()
    spent_s = own_end_s - own_s
    return Round(seen, spent_s, spent_s + vllm_end_s - vllm_s, serving_end_s - serving_s)


def measure(bench: Bench) -> None:
    """Ten pairs of rounds; two short ones with --quick."""
    pairs, requests = (2, 8) if bench.quick else (PAIRS, REQUESTS)
    with cluster(SPEC, start_s=START_S) as target:
        command = [
            sys.executable,
            "-m",
            "bench.vllm.proxy",
            *(server_url(target, w) for w in ("prefill-0", "decode-0")),
        ]
        proxy = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert proxy.stdout is not None
            proxy_url = f"http://127.0.0.1:{int(proxy.stdout.readline())}"
            compare(bench, target, psutil.Process(proxy.pid), proxy_url, pairs, requests)
        finally:
            proxy.kill()
            proxy.wait()


def compare(bench: Bench, target: Cluster, proxy: psutil.Process, proxy_url: str, pairs: int, requests: int) -> None:
    """Figures of both, and the checks."""

    def cpu_of_tandem() -> tuple[float, float, float]:
        now = cluster_cpu(str(target.run_dir))
        return now.serving_s + now.control_s, now.vllm_s, now.serving_s

    def cpu_of_proxy() -> tuple[float, float, float]:
        times = proxy.cpu_times()
        spent_s = times.user + times.system
        return spent_s, cluster_cpu(str(target.run_dir)).vllm_s, spent_s

    ways = {"proxy": (proxy_url, cpu_of_proxy), "tandem": (target.url, cpu_of_tandem)}
    for url, cpu in ways.values():
        measured(url, bench.seed + 1000, requests, cpu)
    before_s, began_s = cpu_of_tandem()[0], time.monotonic()
    time.sleep(2.0 if bench.quick else 10.0)
    idle = (cpu_of_tandem()[0] - before_s) / (time.monotonic() - began_s)
    rounds: dict[str, list[Round]] = {name: [] for name in ways}
    for number in range(pairs):
        for name in sorted(ways, reverse=bool(number % 2)):
            # Other prompts each time, so that no prefix cache of a server helps whoever comes second.
            seed = bench.seed + 2 * number + (name == "tandem")
            rounds[name].append(measured(ways[name][0], seed, requests, ways[name][1]))
    rows = {name: [one.row() for one in members] for name, members in rounds.items()}
    for name, members in rows.items():
        bench.figure(way=name, **{field: statistics.mean(row[field] for row in members) for field in members[0]})
    more: dict[str, float] = {}
    for field in rows["proxy"][0]:
        mean, half = interval([t[field] - p[field] for t, p in zip(rows["tandem"], rows["proxy"], strict=True)])
        more |= {field: mean, f"{field}_95": half}
    bench.figure(way="tandem - proxy", **more)
    bench.note(
        f"vLLM {version_of(server_url(target, 'decode-0'))}; {pairs} pairs of {requests} requests, {CLIENTS} clients; "
        f"idle, the cluster takes {1e3 * idle:.1f} ms of CPU a second"
    )
    for field in ("ttft_ms", "itl_ms", "itl_decode_ms", "request_ms", "cpu_us_per_token", "serving_us_per_token"):
        bench.check(Check(f"{field}: lower end of what Tandem adds", more[field] - more[f"{field}_95"], "<=", 0))
    bench.check(
        Check("tokens_per_s: upper end of what Tandem adds", more["tokens_per_s"] + more["tokens_per_s_95"], ">=", 0)
    )
    share = statistics.mean(r["all_us_per_token"] for r in rows["tandem"]) / statistics.mean(
        r["all_us_per_token"] for r in rows["proxy"]
    )
    bench.check(Check("CPU per token with vLLM's, of the proxy's", share, "<=", TOTAL_SHARE))


if __name__ == "__main__":
    run("vllm", measure, __doc__)
