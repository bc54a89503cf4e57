"""A load report for people."""

from __future__ import annotations

from typing import Any

from orchestrator.cli.output import Table, pairs
from orchestrator.cli.units import duration, size

LATENCIES = (("TTFT", "ttft_s"), ("TPOT", "tpot_s"), ("ITL", "itl_s"), ("E2E", "e2e_s"))
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
    rows = [
        [
            w["name"],
            w["role"],
            str(w.get("prefill_requests", "-")),
            str(w.get("decode_requests", "-")),
            str(w.get("prompt_tokens", "-")),
            str(w.get("cached_prompt_tokens", "-")),
            str(w.get("generated_tokens", "-")),
            size(w.get("kv_bytes_pulled", 0)),
        ]
        for w in report["workers"]
    ]
    Table(["WORKER", "ROLE", "PREFILLS", "DECODES", "PROMPT TOK", "CACHED TOK", "OUTPUT TOK", "KV PULLED"]).print(rows)
