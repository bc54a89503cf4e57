"""Clocks change times and watts as the truth and the power model say, and energy counts every second of a worker's life."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from orchestrator.core.config import Cluster
from orchestrator.core.decisions import Reason
from orchestrator.performance.batch import Batch
from orchestrator.performance.latency.base import Point
from orchestrator.performance.power import decode_load, idle_w, power_w
from orchestrator.policies.frequency.base import Clock
from orchestrator.simulator.cluster import SimulatedCluster
from orchestrator.simulator.device import Device
from orchestrator.simulator.run import Result
from orchestrator.simulator.scenario import scenario
from orchestrator.simulator.worker import Worker
from orchestrator.workload.schedule import Planned
from tests.simulator.clusters import at_once, cluster, pool, run

CLOCKS_MHZ = (1005, 1095, 1200, 1305, 1410)


@dataclass(frozen=True, slots=True)
class Fixed:
    """A `FrequencyPolicy` of one clock."""

    mhz: int

    def clock_mhz(self, supported_mhz: Sequence[int], decode_tokens: int, prefill_tokens: int) -> Clock:
        return Clock(self.mhz, Reason.FIXED, valid_steps=0)


Serve = Callable[[int, Cluster, Sequence[Planned]], Result]


@pytest.fixture
def at_clock(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Runs a cluster whose workers all keep to one clock."""

    def serve(mhz: int, made: Cluster, planned: Sequence[Planned]) -> Result:
        class Clocked(SimulatedCluster):
            def _worker(self, *arguments: Any) -> Worker:
                worker = super()._worker(*arguments)
                worker.policies = replace(worker.policies, frequency=Fixed(mhz))
                return worker

        with monkeypatch.context() as patch:
            patch.setattr("orchestrator.simulator.run.SimulatedCluster", Clocked)
            return run(made, planned)

    return serve


def a100(**engine: Any) -> tuple[Cluster, Device]:
    made = cluster(pool("both", 1, "a100-80g"), engine=engine)
    return made, scenario(made).devices[0]


@pytest.mark.parametrize("mhz", CLOCKS_MHZ)
def test_one_request_takes_the_time_and_the_joules_of_its_clock(at_clock: Serve, mhz: int) -> None:
    made, device = a100()
    result = at_clock(mhz, made, [Planned(0, 0.5, 2048, 101)])
    point = Point(1.0, mhz / 1410)
    prefill_s = float(device.truth.iteration_s(Batch.prefill(1, 2048), point))
    decode_s = device.truth.decode_line(1, point).run_s(2049, 1, 100)
    (outcome,) = result.outcomes
    assert outcome.ttft_s == pytest.approx(prefill_s, rel=1e-9)
    assert outcome.e2e_s == pytest.approx(prefill_s + decode_s, rel=1e-9)

    prefill_w = float(power_w(device.hardware, mhz, True, 0.0))
    decode_w = float(power_w(device.hardware, mhz, False, decode_load(1)))
    idle_j = 0.5 * (idle_w(device.hardware) or 0.0)
    assert idle_j == 40
    assert result.document["energy_j"] == pytest.approx(idle_j + prefill_s * prefill_w + decode_s * decode_w, rel=1e-9)


def test_a_worker_that_never_works_idles_at_its_power() -> None:
    made = cluster(pool("both", 2, "a100-80g"), routing="round_robin")
    first, second = run(made, [Planned(0, 0.0, 256, 200)]).document["workers"]
    assert first["busy_s"] == pytest.approx(first["alive_s"])
    assert second["busy_s"] == 0
    assert second["energy_j"] == pytest.approx(80 * second["alive_s"])


def test_energy_per_token_falls_with_the_batch() -> None:
    """Weights are read once for all requests of a step, and power grows slower than the batch."""
    joules = []
    for batch in (1, 4, 16, 64):
        result = run(a100(max_batch=batch)[0], at_once(64, 64, 65))
        joules.append(result.document["energy_j"] / sum(o.output_tokens for o in result.outcomes))
    assert all(later < 0.6 * earlier for earlier, later in pairwise(joules)), joules


@pytest.mark.parametrize(("prompt", "output"), [(4096, 1), (64, 257)])
def test_energy_has_its_least_amid_the_clocks(tmp_path: Any, at_clock: Serve, prompt: int, output: int) -> None:
    """Prefill and decode of an A100: below the knee voltage falls no further, while work takes longer. Source: VoltanaLLM §3.2."""
    catalog = tmp_path / "slow.toml"
    catalog.write_text(
        '[hardware.slow]\nbase = "a100-80g"\nclocks_mhz = [405, 705, 1005, 1095, 1200, 1305, 1410]\n'
        '[hardware.slow.sources]\nclocks_mhz = "VoltanaLLM section 3.2, with clocks far below its knee"\n'
    )
    made = cluster(pool("both", 1, "slow"), simulation={"catalog": str(catalog)})
    clocks = (405, 705, *CLOCKS_MHZ)
    joules = [at_clock(mhz, made, at_once(32, prompt, output)).document["energy_j"] for mhz in clocks]
    least = int(np.argmin(joules))
    assert clocks[least] == 1005, dict(zip(clocks, joules, strict=True))
    assert (np.diff(joules[: least + 1]) < 0).all() and (np.diff(joules[least:]) > 0).all()
