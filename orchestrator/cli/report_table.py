"""A load report for people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orchestrator.cli.output import Table, pairs
from orchestrator.cli.units import duration, size

LATENCIES = (("TTFT", "ttft_s"), ("TPOT", "tpot_s"), ("ITL", "itl_s"), ("E2E", "e2e_s"))


@dataclass(frozen=True, slots=True)
class WorkerColumn:
    """A figure of a worker; a replay and a simulation know different ones."""

    header: str
    key: str
    read: Callable[[Any], str] = str


WORKER = (
    WorkerColumn("ROLE", "role"),
    WorkerColumn("STATE", "state"),
    WorkerColumn("HARDWARE", "hardware"),
    WorkerColumn("REQUESTS", "requests"),
    WorkerColumn("PREFILLS", "prefill_requests"),
    WorkerColumn("DECODES", "decode_requests"),
    WorkerColumn("PROMPT TOK", "prompt_tokens"),
    WorkerColumn("CACHED TOK", "cached_prompt_tokens"),
    WorkerColumn("OUTPUT TOK", "generated_tokens"),
    WorkerColumn("PREFILL TOK", "prefill_tokens"),
    WorkerColumn("DECODE TOK", "decode_tokens"),
    WorkerColumn("BUSY", "utilization", "{:.0%}".format),
    WorkerColumn("BATCH", "mean_batch", "{:.1f}".format),
    WorkerColumn("KV PULLED", "kv_bytes_pulled", size),
)
POINTS = ("mean", "p50", "p90", "p95", "p99", "max")


def print_report(report: dict[str, Any]) -> None:
    """Print latencies, throughput, KV and workers on stdout."""
    counts = report["requests"]
    clipped = f", {counts['clipped']} clipped to the model's context" if counts.get("clipped") else ""
    rate = report["throughput"]
    attained = report["slo_attainment"]
    pairs(
        [
            (
                "Requests",
                f"{counts['submitted']} submitted, {counts['completed']} completed, {counts['failed']} failed, "
                f"{counts['rejected']} rejected{clipped}",
            ),
            (
                "Throughput",
                f"{rate['requests_per_s']:.2f} requests/s, {rate['input_tokens_per_s']:.0f} input tokens/s, "
                f"{rate['output_tokens_per_s']:.0f} output tokens/s",
            ),
            (
                "Goodput",
                "no SLO given"
                if attained is None
                else f"{report['goodput_rps']:.2f} requests/s, {attained:.1%} in SLO",
            ),
            ("Duration", duration(report["duration_s"])),
            *_spent(report),
            *_client(report.get("client")),
        ]
    )
    print()
    rows = [[name, *(duration(report[key][p]) for p in POINTS)] for name, key in LATENCIES]
    Table(["LATENCY", *(p.upper() for p in POINTS)]).print(rows)
    if len(report["tiers"]) > 1:
        print()
        _tiers(report["tiers"])
    if report["workers"]:
        print()
        _workers(report)
    if report.get("errors"):
        print()
        Table(["COUNT", "ERROR"]).print([[str(n), text] for text, n in report["errors"].items()])


def _spent(report: dict[str, Any]) -> list[tuple[str, str]]:
    energy_j, cost_usd = report["energy_j"], report["cost_usd"]
    spent = [] if energy_j is None else [("Energy", f"{energy_j:,.0f} J")]
    if cost_usd is not None:
        spent.append(("Cost", f"${cost_usd:,.4f}{_basis(report.get('scenario', {}).get('cost basis'))}"))
    return spent


def _client(client: dict[str, Any] | None) -> list[tuple[str, str]]:
    """How late the load generator sent requests, which counts in their latencies."""
    late = client["sent_late_s"] if client else {}
    if not late or late["p50"] is None:
        return []
    return [("Sent late", ", ".join(f"{p} {duration(late[p])}" for p in ("p50", "p99", "max")))]


def _basis(basis: str | None) -> str:
    if not basis:
        return ""
    hint = "; set usdPerHour of the pools for a price" if "dies" in basis else ""
    return f" ({basis}{hint})"


def _tiers(tiers: dict[str, Any]) -> None:
    rows = [
        [name, str(t["requests"]["submitted"]), duration(t["ttft_s"]["p99"]), duration(t["tpot_s"]["p99"]), _percent(t)]
        for name, t in tiers.items()
    ]
    Table(["TIER", "REQUESTS", "TTFT P99", "TPOT P99", "IN SLO"]).print(rows)


def _percent(tier: dict[str, Any]) -> str:
    return "-" if tier["slo_attainment"] is None else f"{tier['slo_attainment']:.1%}"


def _workers(report: dict[str, Any]) -> None:
    kv = report["kv"]
    if kv["bytes_moved"] is not None:
        extra = f", {kv['preemptions']} preemptions, {kv['lease_expiries']} expired leases"
        print(f"KV moved: {size(kv['bytes_moved'])} in {kv['transfers']} transfers{extra}")
        print()
    shown = [c for c in WORKER if any(c.key in w for w in report["workers"])]
    if all(w.get("state") != "dead" for w in report["workers"]):
        shown = [c for c in shown if c.key != "state"]
    rows = [[w["name"], *(_cell(w, c) for c in shown)] for w in report["workers"]]
    Table(["WORKER", *(c.header for c in shown)]).print(rows)


def _cell(worker: dict[str, Any], column: WorkerColumn) -> str:
    value = worker.get(column.key)
    return "-" if value is None else column.read(value)
