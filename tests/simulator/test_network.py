"""Transfers share links as a brute-force integration in small steps says."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.simulator.loop import NOTHING, Events, Loop
from orchestrator.simulator.network import Network, Transfer

LATENCY_S, STEP_S, RATE = 0.01, 1e-3, 1000.0


class End:
    """Where a link ends: as much of a worker as the network looks at."""

    def __init__(self, rate: float) -> None:
        self.device = SimpleNamespace(link=SimpleNamespace(latency_s=LATENCY_S), link_bytes_per_s=rate)


SENDING = st.tuples(
    st.integers(0, 200),
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(0, 400),
    st.one_of(st.none(), st.none(), st.integers(0, 300)),
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(SENDING, min_size=1, max_size=8), st.sampled_from([RATE, RATE / 4]))
def test_shares_agree_with_small_steps(sendings: list[tuple[int, int, int, int, int | None]], slow: float) -> None:
    """Each is (start in steps, source, target, bytes, steps until it is cancelled)."""
    sources, targets = [End(r) for r in (RATE, slow, RATE)], [End(r) for r in (RATE, RATE, slow)]
    loop, found, logged = Loop(), dict[int, float](), list[Transfer]()
    network = Network(lambda transfer, now_s: logged.append(transfer))

    def done(i: int, now_s: float) -> Events:
        found[i] = now_s
        return NOTHING

    def send(i: int, now_s: float) -> Events:
        _, a, b, size, given_up = sendings[i]
        transfer, events = network.send(sources[a], targets[b], float(size), partial(done, i), now_s)  # type: ignore[arg-type]
        if given_up is None:
            return events
        return [
            *events,
            (now_s + given_up * STEP_S, lambda at_s: NOTHING if i in found else network.cancel(transfer, at_s)),
        ]

    loop.push([(s[0] * STEP_S, partial(send, i)) for i, s in enumerate(sendings)])
    loop.run(lambda: False)
    wanted = integrated(sendings, sources, targets)
    margin_s = 3 * STEP_S
    for i, s in enumerate(sendings):
        if i in found and i in wanted:
            assert found[i] == pytest.approx(wanted[i], abs=margin_s)
        elif i in found or i in wanted:
            # Only one that was given up about when it was done.
            assert s[4] is not None
            assert {**found, **wanted}[i] == pytest.approx((s[0] + s[4]) * STEP_S, abs=margin_s)
    assert network.transfers == len(found) == len(logged)
    assert network.bytes_moved == sum(sendings[i][3] for i in found)


def integrated(sendings: Any, sources: list[End], targets: list[End], fine: int = 10) -> dict[int, float]:
    """End of each transfer, with rates recomputed in every tenth of a step."""
    left = {i: float(s[3]) for i, s in enumerate(sendings)}
    over: dict[int, float] = {}
    gone: set[int] = set()
    dt_s, tick = STEP_S / fine, 0
    latency = round(LATENCY_S / dt_s)
    while len(over) + len(gone) < len(sendings):
        gone |= {
            i for i, s in enumerate(sendings) if s[4] is not None and tick >= (s[0] + s[4]) * fine and i not in over
        }
        now = [i for i, s in enumerate(sendings) if tick >= s[0] * fine + latency and i not in over and i not in gone]
        for i in now:
            a, b = sendings[i][1], sendings[i][2]
            rate = min(
                sources[a].device.link_bytes_per_s / sum(sendings[j][1] == a for j in now),
                targets[b].device.link_bytes_per_s / sum(sendings[j][2] == b for j in now),
            )
            left[i] -= rate * dt_s
            if left[i] <= 0:
                over[i] = (tick + 1) * dt_s
        tick += 1
    return over
