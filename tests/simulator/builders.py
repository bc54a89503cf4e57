"""Random clusters, traces, faults and policies, and a simulated cluster that is inspected after every event."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from hypothesis import strategies as st

from orchestrator.core.cluster import ClusterView, Role
from orchestrator.core.config import Cluster, Pool, Spec
from orchestrator.core.config.policies import Policies, PolicyChoice
from orchestrator.core.config.pools import Resources, Tier
from orchestrator.core.config.services import FrontDoor
from orchestrator.core.config.serving import DType, Engine, Model, Transport
from orchestrator.core.config.simulation import LatencyKind, LinearLatency, Simulation
from orchestrator.core.decisions import Admission, IterationPlan, Reason
from orchestrator.core.request import RequestState
from orchestrator.policies.frequency.base import Clock
from orchestrator.policies.rebalancing.base import Move
from orchestrator.policies.registry import available, make
from orchestrator.policies.scaling.base import Resize, RoleChange
from orchestrator.simulator import cluster as cluster_module
from orchestrator.simulator import run as run_module
from orchestrator.simulator.cluster import SimulatedCluster
from orchestrator.simulator.controller import Fault
from orchestrator.simulator.job import Job
from orchestrator.simulator.loop import Events
from orchestrator.simulator.run import Options, Result, simulate
from orchestrator.simulator.worker import Worker
from orchestrator.workload.schedule import Planned

TIERS = (Tier("default", 500.0, 50.0), Tier("batch", 5000.0, 500.0))


# Policies that do whatever they may


class Shuffle:
    """Moves random running requests to random workers at every tick."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.cluster: SimulatedCluster | None = None

    def decide(self, view: ClusterView) -> list[Move]:
        assert self.cluster is not None
        active = list(self.cluster.front_door.active)
        chosen = self.random.sample(active, min(len(active), 3))
        rows = range(len(view))
        return [Move(j.view.request_id, 0, self.random.choice(rows), Reason.FIXED) for j in chosen]


class Flip:
    """Flips roles and resizes up and down, a dozen times."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.left = 12

    def decide(self, view: ClusterView) -> list[RoleChange | Resize]:
        draw, roles = self.random, list(Role)
        if self.left == 0 or draw.random() < 0.5:
            return []
        self.left -= 1
        return [
            RoleChange(draw.randrange(len(view)), draw.choice(roles), Reason.FIXED),
            Resize(draw.choice(roles), draw.randint(0, 3), Reason.FIXED),
        ]


class Hop:
    """Another clock in every iteration."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def clock_mhz(self, supported_mhz: Sequence[int], decode_tokens: int, prefill_tokens: int) -> Clock:
        return Clock(self.random.choice(supported_mhz), Reason.FIXED, valid_steps=1)


class Stutter:
    """Another budget every three steps, often none."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def plan(self, decode_tokens: int, waiting_prefill_tokens: int) -> IterationPlan:
        return IterationPlan(self.random.choice((0, 1, 7, 100)), Reason.FIXED, valid_steps=3)


class Lottery:
    """Any requests in any order, whatever the blocks."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def admit(
        self, queue: Sequence[Any], running: int, free_blocks: int, block_tokens: int, max_batch: int
    ) -> Admission:
        positions = list(range(len(queue)))
        self.random.shuffle(positions)
        return Admission(tuple(positions[: max(0, max_batch - running)]), Reason.FIXED)


ADVERSARIES: dict[str, Callable[[int], Any]] = {
    "rebalancing": Shuffle,
    "scaling": Flip,
    "frequency": Hop,
    "multiplexing": Stutter,
    "admission": Lottery,
}


@dataclass(frozen=True)
class World:
    """Everything of one run. `adverse` names the decisions that an adversary takes."""

    cluster: Cluster
    planned: tuple[Planned, ...]
    faults: tuple[Fault, ...] = ()
    seed: int = 0
    adverse: frozenset[str] = frozenset()


def spec(
    pools: Sequence[tuple[str, int]],
    *,
    hardware: str = "h100",
    engine: dict[str, Any] | None = None,
    simulation: dict[str, Any] | None = None,
    front_door: dict[str, Any] | None = None,
    policies: dict[str, PolicyChoice] | None = None,
    lease_s: float = 30.0,
) -> Cluster:
    """Pools of (role, count), named after their role and position."""
    made = Spec(
        model=Model(dtype=DType.BFLOAT16),
        engine=Engine(**{"block_tokens": 16, **(engine or {})}),
        transport=Transport(lease_s=lease_s),
        pools=tuple(
            Pool(f"{role}{i}", Role[role.upper()], count, hardware, Resources(gpus=1))
            for i, (role, count) in enumerate(pools)
        ),
        tiers=TIERS,
        policies=Policies(**(policies or {})),
        front_door=FrontDoor(**{"refuse_late": False, **(front_door or {})}),
        simulation=Simulation(**{"model": "llama-3.1-8b", "hardware": "h100", **(simulation or {})}),
    )
    return replace(Cluster(), spec=made)


def policy_choices(decision: str) -> st.SearchStrategy[PolicyChoice]:
    """Every registered policy of a decision, with parameters out of their ranges' lower part."""

    def value(p: Any) -> st.SearchStrategy[Any]:
        low = 0 if p.minimum is None else p.minimum
        high = low + 512 if p.maximum is None else min(p.maximum, low + 512)
        if p.type is bool:
            return st.booleans()
        if p.type is int:
            return st.integers(int(low), int(high))
        if p.type is float:
            return st.floats(float(low), float(high))
        return st.just(p.default)

    def choice(info: Any) -> st.SearchStrategy[PolicyChoice]:
        drawn = st.fixed_dictionaries({}, optional={p.name: value(p) for p in info.parameters})
        return drawn.map(lambda parameters: PolicyChoice(info.name, parameters))

    return st.sampled_from(available(decision)).flatmap(choice)


LAYOUTS = [
    [("both", 1)],
    [("both", 3)],
    [("prefill", 1), ("decode", 1)],
    [("prefill", 2), ("decode", 3)],
    [("prefill", 1), ("both", 1), ("decode", 1)],
]


@st.composite
def worlds(draw: st.DrawFn, *, adverse: bool = True, faulty: bool = True, roomy: bool = False) -> World:
    """Small clusters under small traces; `roomy` ones have blocks, rows and time for everything."""
    layout = draw(st.sampled_from(LAYOUTS))
    block_tokens = draw(st.sampled_from([1, 3, 16, 64]))
    linear = LinearLatency(
        base_ms=draw(st.sampled_from([0.5, 5.0])),
        per_context_token_us=draw(st.sampled_from([0.0, 0.43, 20.0])),
        per_prefill_token_us=draw(st.sampled_from([0.0, 15.0])),
        per_request_us=draw(st.sampled_from([0.0, 50.0])),
    )
    kv_blocks = 4096 if roomy else draw(st.sampled_from([8, 12, 40])) * max(1, 16 // block_tokens)
    cluster = spec(
        layout,
        engine={
            "block_tokens": block_tokens,
            "kv_blocks": kv_blocks,
            "max_batch": 64 if roomy else draw(st.sampled_from([1, 2, 5, 64])),
            "prefix_cache": draw(st.booleans()),
        },
        simulation={
            "latency": draw(st.sampled_from([LatencyKind.LINEAR, LatencyKind.LINEAR, LatencyKind.AUTO])),
            "linear": linear,
            "link": draw(st.sampled_from([None, "ethernet-10g", "loopback"])),
            "mixed_penalty": draw(st.sampled_from([1.0, 1.3])),
            "noise": draw(st.sampled_from([0.0, 0.0, 0.2])),
            "view_noise": draw(st.sampled_from([0.0, 0.0, 0.3])),
            "heartbeat_ms": draw(st.sampled_from([0.0, 5.0, 50.0])),
            "hop_ms": draw(st.sampled_from([0.0, 1.0])),
            "tick_ms": draw(st.sampled_from([3.0, 20.0])),
            "boot_s": draw(st.sampled_from([0.0, 0.05])),
            "clock_delay_ms": draw(st.sampled_from([0.0, 3.0])),
        },
        front_door={
            "max_concurrent": 256 if roomy else draw(st.sampled_from([256, 256, 4, 1])),
            "refuse_late": False if roomy else draw(st.booleans()),
            "max_queue": 512 if roomy else draw(st.sampled_from([512, 512, 3, 1])),
            "request_timeout_s": 1e4 if roomy else draw(st.sampled_from([1.0, 1.0, 4.0, 0.1, 0.004])),
        },
        policies={
            decision: draw(policy_choices(decision))
            for decision in ("routing", "admission", "multiplexing", "rebalancing", "scaling", "frequency")
        },
        lease_s=1e4 if roomy else draw(st.sampled_from([0.01, 30.0])),
    )
    names = [f"{p.name}-{i}" for p in cluster.spec.pools for i in range(p.count)]
    fault = st.builds(
        Fault,
        st.sampled_from(names),
        st.one_of(st.just(0.0), st.floats(0.001, 0.3)),
        st.one_of(st.none(), st.sampled_from([0.0, 0.05])),
    )
    return World(
        cluster,
        draw(traces(kv_blocks * block_tokens)),
        tuple(draw(st.lists(fault, max_size=4))) if faulty else (),
        draw(st.integers(0, 3)),
        draw(st.frozensets(st.sampled_from(sorted(ADVERSARIES)))) if adverse else frozenset(),
    )


@st.composite
def traces(draw: st.DrawFn, pool_tokens: int) -> tuple[Planned, ...]:
    """Bursts, gaps, one-token outputs, shared prefixes, prompts about as long as the pool and some beyond."""
    longest = max(2, min(pool_tokens, 400))
    request = st.tuples(
        st.one_of(st.just(0.0), st.floats(0, 0.03)),
        st.one_of(st.integers(1, longest // 2), st.integers(1, longest + 2)),
        st.one_of(st.just(1), st.integers(1, 60)),
        st.lists(st.integers(0, 1), max_size=2),
        st.sampled_from([None, "default", "batch"]),
    )
    at_s, planned = 0.0, []
    for i, (gap_s, tokens_in, tokens_out, prefix, tier) in enumerate(draw(st.lists(request, min_size=1, max_size=16))):
        at_s += gap_s
        planned.append(Planned(i, at_s, tokens_in, tokens_out, tuple(prefix), tier=tier))
    return tuple(planned)


# Running, and looking at everything meanwhile


@dataclass
class Seen:
    """What was counted from outside during a run."""

    cluster: SimulatedCluster | None = None
    first_tokens: int = 0
    asked: Counter[str] = None  # type: ignore[assignment]
    moves: int = 0
    changes: int = 0


def run_world(world: World) -> tuple[Result, Seen]:
    """Simulate with adversaries in place, checking everything after every event."""
    seen = Seen(asked=Counter())
    seeds = random.Random(world.seed)

    def made(decision: str, name: str, parameters: Any) -> Any:
        policy = make(decision, name, parameters)
        if decision in world.adverse:
            policy = ADVERSARIES[decision](seeds.randrange(1000))
        return policy

    class Watched(SimulatedCluster):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            seen.cluster = self
            watch(self, seen)

        def check(self) -> None:
            super().check()
            inspect(self)

    with mock.patch.object(cluster_module, "make", made), mock.patch.object(run_module, "SimulatedCluster", Watched):
        result = simulate(world.cluster, world.planned, Options(seed=world.seed, faults=world.faults, check_every=1))
    return result, seen


def watch(cluster: SimulatedCluster, seen: Seen) -> None:
    """Count what passes by: first tokens and decisions."""
    door, router, controller = cluster.front_door, cluster.router, cluster.controller

    def counting(holder: Any, name: str, count: Callable[[Any], None]) -> None:
        inner = getattr(holder, name)

        def outer(*arguments: Any) -> Any:
            found = inner(*arguments)
            count(found)
            return found

        setattr(holder, name, outer)

    def first(_: Events) -> None:
        seen.first_tokens += 1

    def placed(phase: str) -> Callable[[Any], None]:
        return lambda found: seen.asked.update({f"routing.{phase}": 1})

    counting(door, "prefilled", first)
    counting(router, "place_prefill", placed("prefill"))
    counting(router, "place_decode", placed("decode"))
    for decision, holder in (("rebalancing", "_rebalancing"), ("scaling", "_scaling")):
        policy = getattr(controller, holder)
        if isinstance(policy, Shuffle):
            policy.cluster = cluster
        setattr(controller, holder, Counted(policy, decision, seen))
    door.admission = Counted(door.admission, "admission", seen)


class Counted:
    """Counts what a policy decides."""

    def __init__(self, policy: Any, decision: str, seen: Seen) -> None:
        self._policy, self._decision, self._seen = policy, decision, seen

    def decide(self, view: ClusterView) -> Any:
        found = self._policy.decide(view)
        self._seen.asked[self._decision] += len(found)
        return found

    def admit(self, *arguments: Any) -> Any:
        self._seen.asked[self._decision] += 1
        return self._policy.admit(*arguments)


def places(job: Job, worker: Worker) -> list[str]:
    """The collections of a worker that hold a request."""
    found = ["waiting"] * sum(job is other for other in worker.prompts.waiting)
    found += ["ready"] * sum(job is other for other, _ in worker.ready)
    found += ["prefilling"] * (job in worker.prompts.prefilling)
    found += [name for name in ("leases", "reservations") if job in getattr(worker, name)]
    return found + ["decoding"] * (job in worker.decoding.jobs and job not in worker.cancelled)


def inspect(cluster: SimulatedCluster) -> None:
    """Every request is where its state says and nowhere else; no pool is too small for what it runs."""
    door, now_s = cluster.front_door, cluster.loop.now_s
    alive = [m.worker for m in cluster.members if m.worker.alive and m.worker.name in door.roster.workers]
    for worker in alive:
        _, it = worker.progress(now_s)
        steps = it.steps - 1 if it is not None and it.line is not None else 0
        used = worker.kv.used_blocks + worker.decoding.growth(steps)
        assert used <= worker.kv.total_blocks, f"{worker.name}: {used} of {worker.kv.total_blocks} blocks"
        assert worker.departing.keys() <= worker.decoding.jobs.keys()
        assert worker.cancelled.keys() <= worker.departing.keys()
        if it is None:
            assert not worker.running and not worker.ready, f"{worker.name} does nothing, but could"
        else:
            assert it.start_s <= now_s <= it.end_s or it.end_s < it.start_s
    for job in door.active:
        where = {worker.name: found for worker in alive if (found := places(job, worker))}
        assert where == expected(job), f"{job.view.request_id} {job.state}: {where}, not {expected(job)}"
        assert list(door._queue).count(job) == (job.state is RequestState.QUEUED)
        assert job.emitted < job.output_tokens
    for job in door.over:
        assert not any(places(job, worker) for worker in alive), f"{job.view.request_id} is over"


def expected(job: Job) -> dict[str, list[str]]:
    """Where a request must be: worker → places. Which of several a running one is in is read from its worker."""
    found: dict[str, list[str]] = {}
    match job.state:
        case RequestState.PREFILLING:
            assert job.prefill is not None
            found[job.prefill.name] = one_of(job, job.prefill, "waiting", "prefilling")
        case RequestState.TRANSFERRING:
            assert job.prefill is not None
            found[job.prefill.name] = ["leases"]
        case RequestState.DECODING:
            assert job.decode is not None
            moving = ("leases",) if job.migration is not None else ()
            found[job.decode.name] = one_of(job, job.decode, "waiting", "prefilling", "ready", "decoding", *moving)
            if job.migration is not None:
                found[job.migration.target.name] = ["reservations"]
    if job.reserved:
        assert job.decode is not None
        found[job.decode.name] = ["reservations"]
    return found


def one_of(job: Job, worker: Worker, *allowed: str) -> list[str]:
    found = places(job, worker)
    assert len(found) == 1 and found[0] in allowed, f"{job.view.request_id} {job.state} is in {found}"
    return found
