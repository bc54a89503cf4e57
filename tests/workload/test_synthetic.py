"""Generated traces: their pace, their lengths, their names."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from orchestrator.workload.lengths import LENGTHS, parse_lengths
from orchestrator.workload.reader import read_trace
from orchestrator.workload.schedule import Planned, Shape, arrivals, plan
from orchestrator.workload.trace import TraceError
from tests.workload.public import public


def _take(name: str, requests: int = 20000, rate: float = 10.0, seed: int = 0) -> list[Planned]:
    return plan(Shape(f"synthetic:{name}", requests=requests, rate=rate, seed=seed))


def _gaps(rows: list[Planned]) -> np.ndarray:
    return np.diff([row.at_s for row in rows])


@pytest.mark.parametrize(("name", "cv"), [("poisson", 1.0), ("gamma?cv=0.5", 0.5), ("gamma", 3.0), ("gamma?cv=1", 1.0)])
def test_mean_and_burstiness(name: str, cv: float) -> None:
    gaps = _gaps(_take(name, 40000))
    assert gaps.min() >= 0
    # Four standard errors of the mean of the gaps.
    assert gaps.mean() == pytest.approx(0.1, rel=4 * cv / 200)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.1)


def test_even_spacing() -> None:
    assert _gaps(_take("gamma?cv=0", 3000)) == pytest.approx(np.full(2999, 0.1))


def test_a_day_swings() -> None:
    rows = plan(Shape("synthetic:diurnal?period_s=400&amplitude=0.8", rate=50.0, duration_s=4000.0))
    assert len(rows) == pytest.approx(200_000, rel=0.02)
    phase = np.array([row.at_s for row in rows]) % 400 / 400
    counts, edges = np.histogram(phase, 20, (0, 1))
    wanted = len(rows) / 20 * (1 + 0.8 * np.sin(2 * np.pi * (edges[:-1] + 0.025)))
    assert counts == pytest.approx(wanted, rel=0.06)


def test_rate_of_the_name_yields_to_that_of_the_user() -> None:
    named = plan(Shape("synthetic:gamma?cv=0&rate=4", requests=3))
    assert [row.at_s for row in named] == [0.0, 0.25, 0.5]
    assert [row.at_s for row in plan(Shape("synthetic:gamma?cv=0&rate=4", requests=3, rate=2.0))] == [0.0, 0.5, 1.0]
    assert [row.at_s for row in _take("poisson", 3, float("inf"))] == [0.0] * 3


def test_lengths_are_the_same_at_every_rate() -> None:
    slow, fast = (_take("gamma?lengths=ldc", 500, rate) for rate in (1.0, 30.0))
    assert [(r.input_tokens, r.output_tokens) for r in slow] == [(r.input_tokens, r.output_tokens) for r in fast]
    assert slow[-1].at_s == pytest.approx(30 * fast[-1].at_s)


def test_constant_and_mixed_lengths() -> None:
    assert {(r.input_tokens, r.output_tokens) for r in _take("poisson?lengths=2048/64", 50)} == {(2048, 64)}
    mixed = Counter((r.input_tokens, r.output_tokens) for r in _take("poisson?lengths=8/2:3,16/4:1", 4000))
    assert set(mixed) == {(8, 2), (16, 4)} and mixed[(8, 2)] / 4000 == pytest.approx(0.75, abs=0.03)


def test_tiers_by_weight_and_in_turn() -> None:
    shares = Counter(row.tier for row in _take("poisson?tiers=interactive:0.3,batch:0.7", 10000))
    assert shares["interactive"] / 10000 == pytest.approx(0.3, abs=0.02) and sum(shares.values()) == 10000
    rows = _take("gamma?cv=0&tiers=a:1,b:0.000001,c:0.000001&rotate_s=9.995", 400)
    by_turn = [{row.tier for row in rows[i : i + 100]} for i in range(0, 400, 100)]
    assert sorted(map(sorted, by_turn[:3])) == [["a"], ["b"], ["c"]] and by_turn[3] == by_turn[0]


def test_tiers_for_a_file() -> None:
    rows = plan(Shape("sample", tiers="gold:1,bulk:1"))
    assert {row.tier for row in rows} == {"gold", "bulk"}
    assert rows == plan(Shape("sample", tiers="gold:1,bulk:1"))


@pytest.mark.parametrize(
    ("name", "what", "remedy"),
    [
        ("sine", "no synthetic trace 'sine'", "synthetic:diurnal"),
        ("gamma?cvs=3", "no parameter 'cvs'", "did you mean cv?"),
        ("poisson?cv=3", "no parameter 'cv'", "use lengths, tiers, rotate_s, rate"),
        ("gamma?cv=-1", "bad cv=-1", "0 or more"),
        ("gamma?cv=nan", "bad cv=nan", "0 or more"),
        ("gamma?cv", "has no value", "give cv=… once"),
        ("gamma?cv=1&cv=2", "appears twice", "give cv=… once"),
        ("gamma?", "no parameter ''", "use cv"),
        ("diurnal?amplitude=2", "at most 1", "swings"),
        ("diurnal?period_s=0", "above 0", "a day"),
        ("poisson?rate=0", "above 0", "requests per second"),
        ("poisson?lengths=azure", "azure-code, azure-conversation", "NAME:WEIGHT"),
        ("poisson?lengths=0/5", "2048/64", "NAME:WEIGHT"),
        ("poisson?lengths=ldc:0", "weight above 0", "NAME:WEIGHT"),
        ("poisson?tiers=a:x", "weight above 0", "NAME:WEIGHT"),
    ],
)
def test_mistakes_in_names(name: str, what: str, remedy: str) -> None:
    with pytest.raises(TraceError) as caught:
        plan(Shape(f"synthetic:{name}"))
    assert what in str(caught.value) and remedy in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lengths", "trace"),
    [
        ("azure-code", "azure_llm_2023_code.csv.gz"),
        ("azure-conversation", "azure_llm_2023_conv.csv.gz"),
        ("mooncake", "mooncake_conversation_trace.jsonl.gz"),
    ],
)
def test_fits_of_public_traces(lengths: str, trace: str) -> None:
    rows = list(read_trace(public(trace)))
    drawn = LENGTHS[lengths].draw(np.random.default_rng(0), 100_000)
    real = np.array([(r.input_tokens, r.output_tokens) for r in rows]).T
    for ours, theirs in zip(drawn, real, strict=True):
        assert np.median(ours) == pytest.approx(np.median(theirs), rel=0.1)
        assert ours.mean() == pytest.approx(theirs.mean(), rel=0.1)
        assert ours.max() <= theirs.max()


# Source: Nexus §8: mean, P50, P95.
NEXUS = {
    "ldc": ((5905, 5461, 9292), (180, 159, 339)),
    "arxiv": ((3832, 3575, 6460), (200, 181, 357)),
    "sharegpt": ((496, 432, 970), (97, 37, 383)),
}


@pytest.mark.parametrize("lengths", NEXUS)
def test_fits_of_published_quantiles(lengths: str) -> None:
    for ours, (mean, p50, p95) in zip(
        LENGTHS[lengths].draw(np.random.default_rng(0), 100_000), NEXUS[lengths], strict=True
    ):
        assert np.percentile(ours, [50, 95]) == pytest.approx([p50, p95], rel=0.03)
        # ShareGPT's outputs are far from log-normal: cutting the tail costs a fifth of the mean.
        assert ours.mean() == pytest.approx(mean, rel=0.2 if (lengths, mean) == ("sharegpt", 97) else 0.06)


@pytest.mark.parametrize(("lengths", "median", "sigma"), [("reasoning", 8000, 0.7), ("long-chat", 2500, 1.1)])
def test_long_outputs(lengths: str, median: float, sigma: float) -> None:
    """Source: ARES §9."""
    prompts, outputs = LENGTHS[lengths].draw(np.random.default_rng(0), 100_000)
    assert np.median(outputs) == pytest.approx(median, rel=0.02) and outputs.max() == 32768
    assert np.log(np.percentile(outputs, 84.13) / median) == pytest.approx(sigma, rel=0.03)
    assert np.median(prompts) == pytest.approx(400, rel=0.02)


def test_a_mix_has_the_mean_of_its_parts() -> None:
    inputs, _ = parse_lengths("sharegpt:0.6,ldc:0.4").draw(np.random.default_rng(1), 50_000)
    parts = [LENGTHS[name].draw(np.random.default_rng(2), 50_000)[0].mean() for name in ("sharegpt", "ldc")]
    assert inputs.mean() == pytest.approx(0.6 * parts[0] + 0.4 * parts[1], rel=0.03)


def test_same_seed_same_requests_in_every_process() -> None:
    name = "gamma?cv=2&lengths=sharegpt:0.6,ldc:0.4&tiers=a:1,b:2"
    code = f"""
from orchestrator.workload.schedule import Shape, plan
import hashlib
print(hashlib.sha256(repr(plan(Shape("synthetic:{name}", requests=300, rate=5.0, seed=4))).encode()).hexdigest())
"""
    root = Path(__file__).parents[2]
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=root,
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
    assert _take(name, 300, 5.0, 4) != _take(name, 300, 5.0, 5)


def test_endless_traces_stop_where_one_stops() -> None:
    assert len(plan(Shape("synthetic:poisson"))) == 100
    assert all(row.at_s <= 60 for row in plan(Shape("synthetic:poisson", rate=3.0, start_s=100.0, duration_s=60.0)))
    head = list(itertools.islice(arrivals(Shape("synthetic:poisson", requests=10**12, rate=1.0)), 5))
    assert [row.index for row in head] == [0, 1, 2, 3, 4]
