"""What a cluster can sustain, against closed forms that know nothing but the time of an iteration.

Clusters get half as many requests again as they can serve. Source: BestServe §6 (bounds of both stages) for the forms.
"""

from __future__ import annotations

import pytest

from orchestrator.core.config import Cluster
from orchestrator.performance.batch import Batch
from orchestrator.simulator.device import Device
from orchestrator.simulator.scenario import scenario
from tests.simulator.clusters import at_once, cluster, completed_per_s, poisson, pool, run

TOLERANCE = 0.05
BLOCK = 16


def last_device(made: Cluster) -> Device:
    return scenario(made).devices[-1]


def iteration_s(device: Device, batch: Batch) -> float:
    return float(device.truth.iteration_s(batch))


@pytest.mark.parametrize(("workers", "max_batch", "together"), [(1, 1, 1), (3, 1, 1), (2, 8, 4)])
def test_prefill_workers_sustain_a_prompt_per_prompt_time(workers: int, max_batch: int, together: int) -> None:
    """`together` prompts of 2048 tokens share the budget of 8192."""
    made = cluster(pool("prefill", workers), engine={"max_batch": max_batch})
    prompt_s = iteration_s(last_device(made), Batch.prefill(together, 2048)) / together
    found = completed_per_s(run(made, at_once(200 * workers, 2048, 1)).outcomes)
    assert found == pytest.approx(workers / prompt_s, rel=0.01)


@pytest.mark.parametrize(("workers", "prompt", "output"), [(1, 512, 257), (2, 1024, 129)])
def test_decode_workers_sustain_a_full_batch(workers: int, prompt: int, output: int) -> None:
    """y·B / (steps·T): the first token comes from prefill; contexts are half grown on average."""
    rows = 64
    made = cluster(pool("prefill", 6 * workers), pool("decode", workers), engine={"max_batch": rows})
    step_s = iteration_s(last_device(made), Batch.decode(rows, prompt + (output + 1) / 2))
    bound = workers * rows / ((output - 1) * step_s)
    result = run(made, poisson(1.5 * bound, 8 * rows * workers, prompt, output))
    assert completed_per_s(result.outcomes) == pytest.approx(bound, rel=TOLERANCE)


@pytest.mark.parametrize("prompt", [512, 1024])
def test_decode_workers_short_of_memory_sustain_what_their_blocks_hold(prompt: int) -> None:
    """A request holds its half-grown context, half a block on top, and the block that is kept free for its next token.

    On average half a prompt of blocks lies idle, too few for the next request.
    """
    output, blocks, steps = 65, 4096, 64
    made = cluster(
        pool("prefill", 16), pool("decode", 1), engine={"kv_blocks": blocks}, simulation={"heartbeat_ms": 20.0}
    )
    context = prompt + (output + 1) / 2
    requests = (blocks - prompt / BLOCK / 2) / (context / BLOCK + 1.5)
    bound = requests / (steps * iteration_s(last_device(made), Batch.decode(requests, context)))
    result = run(made, poisson(1.5 * bound, 600, prompt, output))
    assert completed_per_s(result.outcomes) == pytest.approx(bound, rel=TOLERANCE)
    assert result.document["workers"][-1]["mean_batch"] < 256 / 2


@pytest.mark.parametrize("penalty", [1.0, 1.3])
@pytest.mark.parametrize(("workers", "budget"), [(1, 512), (2, 1024)])
def test_co_located_workers_sustain_what_the_budget_shares_out(workers: int, budget: int, penalty: float) -> None:
    """Every iteration is full. In balance as many requests end as begin, so prompt tokens q and decodes d of an iteration relate as
    prompt and steps of a request, and a worker serves q / prompt requests per iteration.
    """
    prompt, output = 2048, 129
    made = cluster(
        pool("both", workers), budget=budget, engine={"max_batch": 512}, simulation={"mixed_penalty": penalty}
    )
    decodes = budget * (output - 1) / (prompt + output - 1)
    tokens = budget - decodes
    # A chunk reads what its prompt has computed before it, half of the prompt on average, and itself.
    mixed = Batch(
        tokens,
        tokens * (prompt + 1) / 2,
        (tokens + prompt) / 2,
        1 + tokens / prompt,
        decodes,
        decodes * (prompt + (output + 1) / 2),
    )
    bound = workers * tokens / prompt / iteration_s(last_device(made), mixed)
    result = run(made, poisson(1.5 * bound, 300 * workers, prompt, output))
    assert completed_per_s(result.outcomes) == pytest.approx(bound, rel=TOLERANCE)


def test_below_saturation_queues_stay_short_and_above_they_grow() -> None:
    """Mean TTFT of the last quarter against the first, at 0.8 and 1.2 of what two prefill workers sustain."""
    made = cluster(pool("prefill", 2), engine={"max_batch": 1})
    prompt_s = iteration_s(last_device(made), Batch.prefill(1, 2048))
    growth = {}
    for load in (0.8, 1.2):
        ttfts = [o.ttft_s or 0.0 for o in run(made, poisson(2 * load / prompt_s, 800, 2048, 1)).outcomes]
        growth[load] = sum(ttfts[600:]) / sum(ttfts[:200])
    assert growth[0.8] < 2 < 5 < growth[1.2]
