"""Nothing is lost and nothing appears: requests, tokens, blocks, time, energy, decisions, whatever policies and faults do."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from orchestrator.core.request import RequestState
from orchestrator.report.outcome import Verdict
from orchestrator.simulator.run import Result
from tests.simulator.builders import Seen, World, run_world, worlds

CLOSE = 1e-9


@settings(max_examples=60, deadline=None, derandomize=True)
@given(worlds())
def test_whatever_happens_nothing_is_lost(world: World) -> None:
    result, seen = run_world(world)
    requests_are_conserved(world, result)
    tokens_are_conserved(result, seen)
    latencies_are_conserved(result)
    rows_add_up(result)
    decisions_are_counted(result, seen)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(worlds(adverse=False, faulty=False, roomy=True))
def test_with_room_for_all_every_request_is_served_once(world: World) -> None:
    result, seen = run_world(world)
    requests_are_conserved(world, result)
    tokens_are_conserved(result, seen)
    assert {o.verdict for o in result.outcomes} == {Verdict.COMPLETED}
    kv, workers = result.document["kv"], result.document["workers"]
    assert kv["preemptions"] == 0 and kv["lease_expiries"] == 0
    computed = sum(row["prefill_tokens"] + row["reused_tokens"] for row in workers)
    assert computed == sum(p.input_tokens for p in world.planned)
    first = len(world.planned)
    assert sum(row["decode_tokens"] for row in workers) == sum(p.output_tokens for p in world.planned) - first


def requests_are_conserved(world: World, result: Result) -> None:
    """Each is over once, in a final state, at a time that makes sense, with the tokens that it wanted if it completed."""
    over = result.cluster.front_door.over
    assert sorted(job.order for job in over) == [p.index for p in world.planned]
    assert not result.cluster.front_door.active and not result.cluster.router.ledger.request_ids()
    for job, outcome in zip(over, result.outcomes, strict=True):
        planned = world.planned[job.order]
        done = outcome.verdict is Verdict.COMPLETED
        assert job.state is (RequestState.FINISHED if done else RequestState.FAILED)
        assert done == (not outcome.error) and done == (outcome.e2e_s is not None)
        assert outcome.input_tokens == planned.input_tokens
        assert (
            (outcome.output_tokens == planned.output_tokens)
            if done
            else (outcome.output_tokens < planned.output_tokens)
        )
        assert job.end_s is not None and planned.at_s <= job.end_s <= result.document["duration_s"]
        if outcome.ttft_s is not None and outcome.e2e_s is not None:
            assert 0 < outcome.ttft_s <= outcome.e2e_s
            assert job.end_s == pytest.approx(planned.at_s + outcome.e2e_s, rel=CLOSE)
    late_s = world.cluster.spec.front_door.request_timeout_s + world.cluster.spec.simulation.hop_ms / 1e3
    for job in over:
        assert job.end_s is not None and job.end_s - job.due_s <= late_s * (1 + CLOSE) + CLOSE


def tokens_are_conserved(result: Result, seen: Seen) -> None:
    """Tokens that clients got = steps of requests on workers + tokens that came from prefill."""
    workers = result.document["workers"]
    emitted = sum(o.output_tokens for o in result.outcomes)
    assert emitted == sum(row["decode_tokens"] for row in workers) + seen.first_tokens
    completed = sum(o.input_tokens for o in result.outcomes if o.verdict is Verdict.COMPLETED)
    assert sum(row["prefill_tokens"] + row["reused_tokens"] for row in workers) >= completed


def latencies_are_conserved(result: Result) -> None:
    """One gap per token but the first; the gaps of all add up to the time between first and last tokens."""
    values = [g for m in result.cluster.members for g in m.worker.meter.steps.gaps().values()]
    assert all((seconds >= 0).all() for seconds, _ in values)
    gaps = sum(int(weights.sum()) for _, weights in values)
    assert gaps == sum(max(0, o.output_tokens - 1) for o in result.outcomes)
    over = result.cluster.front_door.over
    if any(job.emitted > 1 and job.state is RequestState.FAILED for job in over):
        # When the last token of a request came that was given up amid a step, nobody notes.
        return
    total_s = sum(float(seconds @ weights) for seconds, weights in values)
    spans = [job.last_token_s - job.first_token_s for job in over if job.first_token_s is not None]
    assert total_s == pytest.approx(sum(spans), rel=1e-6, abs=1e-9)


def rows_add_up(result: Result) -> None:
    """Rows of workers sum to totals and stay within what their devices can do."""
    document = result.document
    for total in ("energy_j", "cost_usd"):
        parts = [row[total] for row in document["workers"]]
        assert document[total] == (None if None in parts else pytest.approx(sum(parts), rel=CLOSE))
    for member, row in zip(result.cluster.members, document["workers"], strict=True):
        device = member.worker.device
        assert 0 <= row["busy_s"] <= row["alive_s"] * (1 + CLOSE) + CLOSE
        assert 0 <= row["utilization"] <= 1 + 1e-6
        assert row["kv_peak_blocks"] <= row["kv_total_blocks"]
        assert row["mean_batch"] <= device.max_batch
        assert row["alive_s"] <= document["duration_s"] - member.booted_s + CLOSE or row["alive_s"] == 0
        if row["energy_j"] is not None:
            peak_w = max(
                device.power_w(max(device.clocks_mhz), p, d) for p in (False, True) for d in (0, device.max_batch)
            )
            assert device.idle_w * row["alive_s"] * (1 - CLOSE) <= row["energy_j"] + CLOSE
            assert row["energy_j"] <= peak_w * row["alive_s"] * (1 + CLOSE) + CLOSE
    preemptions = sum(row["preemptions"] for row in document["workers"])
    assert document["kv"]["preemptions"] == preemptions


def decisions_are_counted(result: Result, seen: Seen) -> None:
    counted = {decision: sum(reasons.values()) for decision, reasons in result.document["decisions"].items()}
    assert counted == {decision: count for decision, count in seen.asked.items() if count}
