"""What a run measured, in the forms that reports take."""

from __future__ import annotations

from typing import Any

import numpy as np

from orchestrator.core.cluster import WorkerState
from orchestrator.core.request import RequestState
from orchestrator.performance.cost import hourly_cost
from orchestrator.report.document import Kv, WeightedItl
from orchestrator.report.outcome import Outcome, Verdict
from orchestrator.report.timeline import FRONT_DOOR, Series, Span, Timeline
from orchestrator.simulator.cluster import Member, SimulatedCluster
from orchestrator.simulator.job import Job


def outcomes(over: list[Job]) -> list[Outcome]:
    """One per request, in the order in which they ended."""
    return [_outcome(job) for job in over]


def _outcome(job: Job) -> Outcome:
    done = job.state is RequestState.FINISHED
    verdict = Verdict.COMPLETED if done else Verdict.REJECTED if job.error.startswith("429") else Verdict.FAILED
    assert job.end_s is not None
    return Outcome(
        verdict,
        job.end_s,
        job.view.tier,
        job.view.prompt_tokens,
        job.emitted,
        job.first_token_s - job.due_s if done and job.first_token_s is not None else None,
        job.last_token_s - job.due_s if done else None,
        (),
        job.view.ttft_slo_s,
        job.view.tpot_slo_s,
        job.error,
        job.clipped,
    )


def itl(simulated: SimulatedCluster) -> WeightedItl:
    """Inter-token latencies by tier, of all workers together."""
    parts: dict[str, list[Any]] = {}
    for member in simulated.members:
        for tier, found in member.worker.meter.steps.gaps().items():
            parts.setdefault(tier, []).append(found)
    return {
        tier: (np.concatenate([values for values, _ in found]), np.concatenate([weights for _, weights in found]))
        for tier, found in sorted(parts.items())
    }


def kv(simulated: SimulatedCluster) -> Kv:
    """What happened to KV blocks."""
    return Kv(
        bytes_moved=round(simulated.network.bytes_moved),
        transfers=simulated.network.transfers,
        preemptions=sum(member.worker.meter.preemptions for member in simulated.members),
        migrations=sum(migration.completed for migration in simulated.controller.migrations),
        lease_expiries=simulated.front_door.lease_expiries,
    )


def rows(simulated: SimulatedCluster, end_s: float) -> list[dict[str, Any]]:
    """One row per worker that ever lived."""
    return [_row(member, end_s) for member in simulated.members]


def _row(member: Member, end_s: float) -> dict[str, Any]:
    worker, meter = member.worker, member.worker.meter
    device = worker.device
    until_s = end_s if meter.died_s is None else meter.died_s
    alive_s = max(0.0, until_s - member.booted_s)
    hourly_usd = member.pool.usd_per_hour
    if hourly_usd is None and (amortised := hourly_cost(device.hardware, device.devices)) is not None:
        hourly_usd = amortised.usd
    return {
        "name": worker.name,
        "pool": member.pool.name,
        "role": str(member.role),
        "hardware": device.hardware.name,
        "devices": device.devices,
        "state": str(WorkerState.READY if worker.alive else WorkerState.DRAINED if meter.drained else WorkerState.DEAD),
        "requests": meter.requests,
        "prefill_tokens": meter.prefill_tokens,
        "reused_tokens": worker.prompts.reused_tokens,
        "decode_tokens": meter.decode_tokens,
        "utilization": meter.busy_s / alive_s if alive_s else 0.0,
        "mean_batch": meter.decode_tokens / meter.decode_steps if meter.decode_steps else 0.0,
        "kv_peak_blocks": worker.kv.peak_blocks,
        "kv_total_blocks": worker.kv.total_blocks,
        "preemptions": meter.preemptions,
        "alive_s": alive_s,
        "busy_s": meter.busy_s,
        "energy_j": meter.energy_j(alive_s) if device.has_power else None,
        "cost_usd": None if hourly_usd is None else hourly_usd * alive_s / 3600,
    }


def timeline(simulated: SimulatedCluster) -> Timeline:
    """Queue, batch and KV of every worker, the queue of the front door, and the spans if they were kept."""
    series: dict[str, dict[str, Series]] = {}
    spans = []
    for member in simulated.members:
        meter = member.worker.meter
        rows = list(meter.samples.rows)
        if member.worker.alive:
            rows.append(meter.state(member.worker, max(rows[-1][0], simulated.loop.now_s)))
        elif meter.died_s is not None:
            rows.append((max(rows[-1][0], meter.died_s), 0, 0, 0.0))
        table = np.array(rows, np.float64)
        name = _unique(member, series)
        series[name] = {
            "queue": Series(table[:, 0], table[:, 1]),
            "running": Series(table[:, 0], table[:, 2]),
            "kv": Series(table[:, 0], table[:, 3]),
        }
        for start_s, seconds, requests, steps, tokens in meter.spans or ():
            kind = "mixed" if tokens and requests else "prefill" if tokens else "decode"
            arguments = {"decoding": requests, "steps": steps, "prompt_tokens": tokens}
            spans.append(Span(name, f"{kind} x{steps}" if steps > 1 else kind, kind, start_s, seconds, arguments))
    door = np.array([*simulated.front_door.samples.rows, (simulated.loop.now_s, 0, 0, 0.0)], np.float64)
    series[FRONT_DOOR] = {"queue": Series(door[:, 0], door[:, 1])}
    for source, target, start_s, seconds, size in simulated.transfers:
        spans.append(Span(target, f"KV from {source}", "transfer", start_s, seconds, {"bytes": size}))
    return Timeline(series, spans)


def _unique(member: Member, taken: dict[str, Any]) -> str:
    """A worker that was booted again after it died has the name of the dead one."""
    name, life = member.worker.name, 2
    while name in taken:
        name, life = f"{member.worker.name} ({life})", life + 1
    return name
