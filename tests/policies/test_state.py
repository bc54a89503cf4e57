"""A policy that is saved and restored into a fresh one decides as if it had gone on, whatever the decision."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from orchestrator.core.cluster import ClusterView, Role
from orchestrator.core.exact import NotExact
from orchestrator.core.request import RequestView
from orchestrator.policies.registry import DECISIONS, available, make
from orchestrator.policies.state import parameters, restore, state
from tests.policies.views import FixedPrefixes, make_view

STEPS = 31
"""No multiple of a number of workers, so that turns that are not restored show."""


def routing(policy: Any, rng: np.random.Generator) -> Any:
    view, request = some_view(rng), some_request(rng)
    placed = policy.place_prefill(request, view, FixedPrefixes([int(n) for n in rng.integers(0, 5, len(view))]))
    return placed, policy.place_decode(request, view, placed.worker)


def admission(policy: Any, rng: np.random.Generator) -> Any:
    queue = [some_request(rng) for _ in range(rng.integers(1, 9))]
    return policy.admit(queue, int(rng.integers(0, 4)), int(rng.integers(0, 40)), 16, 8)


def multiplexing(policy: Any, rng: np.random.Generator) -> Any:
    return policy.plan(int(rng.integers(0, 64)), int(rng.integers(0, 4096)))


def tick(policy: Any, rng: np.random.Generator) -> Any:
    return policy.decide(some_view(rng))


def frequency(policy: Any, rng: np.random.Generator) -> Any:
    return policy.clock_mhz((900, 1200, 1980), int(rng.integers(0, 64)), int(rng.integers(0, 4096)))


def harvesting(policy: Any, rng: np.random.Generator) -> Any:
    return policy.units(int(rng.integers(1, 64)), int(rng.integers(64, 4096)), 0.05)


DRIVE = {
    "routing": routing,
    "admission": admission,
    "multiplexing": multiplexing,
    "rebalancing": tick,
    "scaling": tick,
    "frequency": frequency,
    "harvesting": harvesting,
}


def some_view(rng: np.random.Generator) -> ClusterView:
    n = 6
    view = make_view([Role.PREFILL] * 3 + [Role.DECODE] * 3)
    view.outstanding_prefill_tokens[:] = 512 * rng.integers(0, 3, n)
    view.decode_context_tokens[:] = 512 * rng.integers(0, 3, n)
    view.kv_used_blocks[:] = 16 * rng.integers(0, 3, n)
    view.running[:] = rng.integers(0, 5, n)
    view.time_s = float(rng.random())
    return view


def some_request(rng: np.random.Generator) -> RequestView:
    tokens = int(rng.integers(1, 200))
    hashes = rng.integers(0, 9, tokens // 16).astype(np.uint64)
    return RequestView(f"r{rng.integers(1000)}", tokens, 32, float(rng.random()), block_hashes=hashes)


def run(decision: str, policy: Any, seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [DRIVE[decision](policy, rng) for _ in range(STEPS)]


@pytest.mark.parametrize(("decision", "name"), [(d, info.name) for d in DECISIONS for info in available(d)])
def test_a_restored_policy_decides_alike(decision: str, name: str) -> None:
    policy = make(decision, name)
    run(decision, policy, seed=1)
    kept = json.loads(json.dumps(state(policy), allow_nan=False))
    again = make(decision, name, parameters(policy))
    restore(again, kept)
    assert again == policy
    assert run(decision, again, seed=2) == run(decision, policy, seed=2)
    assert state(again) == state(policy)


def test_turns_are_remembered_also_of_a_policy_inside_another() -> None:
    policy = make("routing", "prefix_aware", {"imbalanceTokens": 7})
    run("routing", policy, seed=1)
    assert state(policy)["_turn"] == STEPS
    assert state(policy)["_least_load"]["fields"]["_decode_turn"] == STEPS
    assert parameters(policy) == {"imbalance_tokens": 7}
    assert run("routing", make("routing", "prefix_aware", {"imbalanceTokens": 7}), 2) != run("routing", policy, 2)


@dataclass
class Odd:
    _lock: Any = field(default_factory=object, init=False)


def test_a_field_that_cannot_be_kept_is_named() -> None:
    with pytest.raises(NotExact, match=r"Odd._lock is a object"):
        state(Odd())
    with pytest.raises(NotExact, match="object is no dataclass"):
        state(object())


def test_state_of_another_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="LeastLoad remembers _decode_turn, _prefill_turn"):
        restore(make("routing", "least_load"), state(make("routing", "round_robin")))
