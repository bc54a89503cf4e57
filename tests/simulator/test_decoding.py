"""Running ahead by whole runs of steps gives what stepping token by token gives."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.config import PolicyChoice
from orchestrator.core.request import RequestView
from orchestrator.performance.catalog import Catalog
from orchestrator.performance.latency.linear import Linear
from orchestrator.performance.latency.roofline import Roofline
from orchestrator.performance.truth import CAPTURED_SIZES, Truth
from orchestrator.policies.registry import make
from orchestrator.simulator.clocks import Clocks
from orchestrator.simulator.decoding import Decoding
from orchestrator.simulator.device import Device
from orchestrator.simulator.job import Job
from orchestrator.simulator.kv import Holding, KvPool
from orchestrator.simulator.loop import NOTHING, Events, Loop
from orchestrator.simulator.meter import Meter
from orchestrator.simulator.owner import EnginePolicies
from orchestrator.simulator.run import simulate
from orchestrator.simulator.worker import Worker
from orchestrator.workload.schedule import Planned
from tests.simulator.builders import spec
from tests.simulator.reference import Plain, Reference


def job(order: int, prompt: int, output: int, at_s: float = 0.0) -> Job:
    return Job(order, RequestView(f"r{order}", prompt, output, at_s), at_s, output)


# `Decoding` alone


@st.composite
def scripts(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    """Joins of (prompt, output), leaves of the n-th, and runs of at most so many steps."""
    join = st.tuples(st.just("join"), st.integers(1, 70), st.integers(2, 90))
    leave = st.tuples(st.just("leave"), st.integers(0, 5), st.just(0))
    run = st.tuples(st.just("run"), st.integers(1, 60), st.just(0))
    return draw(st.lists(st.one_of(join, leave, run), min_size=1, max_size=30))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(scripts(), st.sampled_from([1, 3, 16, 64]), st.integers(1, 60))
def test_blocks_contexts_and_ends_follow_from_counts(script: list[tuple[str, int, int]], size: int, spare: int) -> None:
    """Against a dict of contexts that grows by one token per request and step."""
    kv = KvPool(1 << 20, size, False)
    decoding, plain, jobs = Decoding(kv), dict[Job, int](), list[Job]()

    def blocks(tokens: int) -> int:
        return -(-tokens // size)

    for what, a, b in script:
        if what == "join":
            one = job(len(jobs), a, b)
            one.emitted = 1
            holding = Holding(blocks(a))
            kv.take(holding.private)
            decoding.join(one, holding)
            jobs.append(one)
            plain[one] = a + 1
        elif what == "leave" and plain:
            one = list(plain)[a % len(plain)]
            one.emitted += decoding.emitted_since_join(one)
            assert one.context_tokens == plain.pop(one)
            kv.release(decoding.leave(one))
        elif what == "run" and plain:
            to_end = min(j.view.prompt_tokens + j.output_tokens - c for j, c in plain.items())
            assert decoding.steps_to_end() == to_end
            steps = min(a, to_end)
            for n in range(steps + 1):
                assert decoding.growth(n) == sum(blocks(c + n) - blocks(c) for c in plain.values())
            kv.total_blocks = kv.held + spare
            fitting = [n for n in range(1, steps + 1) if decoding.growth(n - 1) <= spare]
            assert decoding.steps_that_fit(steps) == max(fitting)
            kv.total_blocks = 1 << 20
            decoding.advance(steps)
            plain = {j: c + steps for j, c in plain.items()}
            ended = list(decoding.ended())
            assert ended == [j for j, c in plain.items() if c == j.view.prompt_tokens + j.output_tokens]
            for one in ended:
                assert one.emitted + decoding.emitted_since_join(one) == one.output_tokens
                kv.release(decoding.leave(one, grown=False))
                del plain[one]
            decoding.grow_last()
        assert decoding.context_tokens == sum(plain.values())
        assert kv.held == sum(blocks(c) for c in plain.values())
        assert len(decoding) == len(plain)


# A worker against the reference


class Owner:
    """Lets a worker keep what it prefilled, and notes what clients get."""

    def __init__(self) -> None:
        self.over: list[Job] = []

    def prefilled(self, job: Job, worker: Worker, now_s: float) -> Events:
        if job.emitted:
            worker.meter.steps.pause(job.view.tier, now_s - job.last_token_s)
        job.emit(1, now_s)
        if job.emitted == job.output_tokens:
            return [*worker.release(job, now_s), *self.finished(job, worker, now_s)]
        return worker.keep(job, now_s)

    def finished(self, job: Job, worker: Worker, now_s: float) -> Events:
        job.end_s = now_s
        self.over.append(job)
        return NOTHING

    def preempted(self, job: Job, now_s: float) -> Events:
        return NOTHING

    def cache_changed(self, worker: Worker, stored: list[int], removed: list[int]) -> None: ...


CATALOG = Catalog.load()


def truths() -> dict[str, Truth]:
    roofline = Roofline(CATALOG.hardware("h100"), CATALOG.model("llama-3.1-8b"), 1, "bfloat16")
    return {
        "linear": Truth(Linear(2e-3, 3e-6, 2e-5, 1e-5)),
        "flat": Truth(Linear(1e-3, 0.0)),
        "mixed": Truth(Linear(1e-3, 5e-7, 1e-6), captured=CAPTURED_SIZES, mixed_penalty=1.3),
        "roofline": Truth(roofline, captured=CAPTURED_SIZES),
    }


TRUTHS = truths()

REQUEST = st.tuples(
    # Not at the very ends of iterations, where rounding decides who is first.
    st.one_of(st.just(0.0), st.floats(0, 0.05).map(lambda s: 0.987654321 * s + 1.23456789e-6)),
    st.integers(1, 200),
    st.one_of(st.just(1), st.integers(1, 120)),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(REQUEST, min_size=1, max_size=14),
    st.sampled_from(sorted(TRUTHS)),
    st.sampled_from([1, 4, 16, 64]),
    st.sampled_from([1, 2, 3, 64]),
    st.sampled_from([1, 20, 512]),
    st.floats(1.0, 4.0),
    st.sampled_from([0.0, 0.013]),
)
def test_a_worker_agrees_with_one_that_steps_token_by_token(
    drawn: list[tuple[float, int, int]],
    truth: str,
    block_tokens: int,
    max_batch: int,
    budget: int,
    room: float,
    heartbeat_s: float,
) -> None:
    """Every first token, every gap, every end and every preemption, in pools from just large enough to roomy."""
    times = np.cumsum([gap for gap, _, _ in drawn])
    longest = max(prompt + output for _, prompt, output in drawn)
    blocks = math.ceil(room * (longest // block_tokens + 2))
    made = [job(i, p, o, float(t)) for i, (t, (_, p, o)) in enumerate(zip(times, drawn, strict=True))]

    plain = [Plain(j, j.due_s) for j in made]
    reference = Reference(TRUTHS[truth], blocks, block_tokens, max_batch, budget)
    reference.run(plain)

    device = Device(CATALOG.hardware("h100"), 1, TRUTHS[truth], blocks, 1.0, CATALOG.link("nvlink4"), max_batch)
    policies = EnginePolicies(
        make("admission", "fcfs"),
        make("multiplexing", "chunked", {"budget_tokens": budget}),
        make("frequency", "maximum"),
    )
    owner, loop = Owner(), Loop()
    meter = Meter(device, heartbeat_s, 0.0, spans=False)
    worker = Worker(
        "w",
        device,
        policies,
        owner,
        meter,
        Clocks(device.clocks_mhz, 0.0),
        block_tokens=block_tokens,
        prefix_cache=False,
        normal=lambda: 0.0,
    )
    loop.push([(j.due_s, partial(worker.enqueue, j)) for j in made])

    def is_over() -> bool:
        worker.check()
        return False

    loop.run(is_over)
    assert len(owner.over) == len(made) and worker.is_idle and not worker.kv.held
    assert meter.preemptions == reference.preemptions
    for j, p in zip(made, plain, strict=True):
        assert j.first_token_s == pytest.approx(p.times_s[0], rel=1e-9, abs=1e-12)
        assert j.end_s == pytest.approx(p.times_s[-1], rel=1e-9, abs=1e-12)
        assert j.last_token_s == j.end_s
    gaps = meter.steps.gaps()
    values, weights = gaps.get("default", (np.zeros(0), np.zeros(0, np.int64)))
    found = np.sort(np.repeat(values, weights))
    wanted = np.sort(np.concatenate([np.diff(p.times_s) for p in plain]))
    assert found == pytest.approx(wanted, rel=1e-7, abs=1e-10)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    st.lists(REQUEST, min_size=1, max_size=20),
    st.sampled_from([1, 16, 64]),
    st.sampled_from([1, 3, 64]),
    st.sampled_from([0.0, 50.0]),
)
def test_a_whole_run_agrees_with_stepping_token_by_token(
    drawn: list[tuple[float, int, int]], block_tokens: int, max_batch: int, heartbeat_ms: float
) -> None:
    """TTFT, TPOT and E2E of a cluster of one co-located worker with room for all."""
    hop_s, times = 1e-3, np.cumsum([gap for gap, _, _ in drawn])
    planned = [Planned(i, float(t), p, o) for i, (t, (_, p, o)) in enumerate(zip(times, drawn, strict=True))]
    made = spec(
        [("both", 1)],
        engine={"block_tokens": block_tokens, "kv_blocks": 7000, "max_batch": max_batch, "prefix_cache": False},
        simulation={"hop_ms": 1e3 * hop_s, "heartbeat_ms": heartbeat_ms},
        policies={"multiplexing": PolicyChoice("chunked", {"budget_tokens": 64})},
    )
    result = simulate(made, planned)
    plain = [Plain(job(p.index, p.input_tokens, p.output_tokens, p.at_s + hop_s), p.at_s + hop_s) for p in planned]
    device = result.cluster.scenario.devices[0]
    Reference(device.truth, 7000, block_tokens, max_batch, 64).run(plain)
    outcomes = dict(zip((j.order for j in result.cluster.front_door.over), result.outcomes, strict=True))
    for p in plain:
        outcome, due_s = outcomes[p.job.order], planned[p.job.order].at_s
        assert outcome.ttft_s == pytest.approx(p.times_s[0] - due_s, rel=1e-7)
        assert outcome.e2e_s == pytest.approx(p.times_s[-1] - due_s, rel=1e-7)
        if len(p.times_s) > 1:
            tpot_s = (p.times_s[-1] - p.times_s[0]) / (len(p.times_s) - 1)
            assert outcome.tpot_s == pytest.approx(tpot_s, rel=1e-6)
