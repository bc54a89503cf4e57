"""Figures of traces: exact, in bounded memory, and equal to the publishers' inventory."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from orchestrator.workload.selection import shaped
from orchestrator.workload.shape import Shape
from orchestrator.workload.statistics import Statistics
from orchestrator.workload.trace import TraceRequest
from tests.workload.public import public


def _describe(shape: Shape) -> dict[str, object]:
    statistics = Statistics()
    for row in shaped(shape, keep_missing=True):
        statistics.add(row)
    return statistics.document()


def test_quantiles_are_those_of_all_values() -> None:
    draw = random.Random(5)
    for count in (1, 2, 3, 10, 101, 1000):
        values = [draw.choice([1, 2, 3, 500, 10**9]) + draw.randrange(3) for _ in range(count)]
        statistics = Statistics()
        for value in values:
            statistics.add(TraceRequest(None, value, 1))
        found = statistics.document()["input_tokens"]
        assert [found[p] for p in ("p50", "p90", "p99")] == pytest.approx(np.percentile(values, [50, 90, 99]).tolist())
        assert found["mean"] == pytest.approx(np.mean(values)) and found["max"] == max(values)
        assert found["total"] == sum(values)


def test_arrivals() -> None:
    times = [5.0, 6.0, 6.0, 20.0, 65.5, 66.0, 67.0, 68.0, 69.0, 200.0]
    statistics = Statistics()
    for at in times:
        statistics.add(TraceRequest(at, 1, 1))
    gaps = np.diff(times)
    assert statistics.document()["arrivals"] == {
        "span_s": 195.0,
        "rate_rps": pytest.approx(9 / 195),
        "cv": pytest.approx(gaps.std() / gaps.mean()),
        # Minutes from the first arrival: 4 requests, then 5, then 1.
        "peak_minute_rps": pytest.approx(5 / 60),
    }


def test_arrivals_that_say_little() -> None:
    for times, rate, cv in (([1.0], None, None), ([1.0, 1.0], None, None), ([1.0, 3.0], 0.5, 0.0)):
        statistics = Statistics()
        for at in times:
            statistics.add(TraceRequest(at, 1, 1))
        arrivals = statistics.document()["arrivals"]
        assert (arrivals["rate_rps"], arrivals["cv"], arrivals["peak_minute_rps"]) == (rate, cv, None)


def test_prefixes_and_tiers() -> None:
    statistics = Statistics()
    for ids, tier in (((1, 2, 3), "b"), ((1, 2, 4), "a"), ((), "b"), ((5,), None)):
        statistics.add(TraceRequest(None, 1, 1, ids, tier))
    document = statistics.document()
    assert document["prefix"] == {"blocks": 7, "distinct_blocks": 5, "ideal_hit_ratio": pytest.approx(2 / 7)}
    assert document["tiers"] == {"a": 1, "b": 2} and document["arrivals"] is None


# The inventory of the public traces: rows; span, rate, CV, peak; mean, P50, P99, max of input and output.
INVENTORY = {
    "azure_llm_2023_code.csv.gz": (8819, (3436, 2.57, 13.2, 10.5), (2048, 1469, 7436, 7437), (27.9, 13, 251, 1899)),
    "azure_llm_2023_conv.csv.gz": (19366, (3502, 5.53, 1.09, 8.45), (1155, 1020, 4142, 14050), (211, 129, 601, 1000)),
    "mooncake_conversation_trace.jsonl.gz": (
        12031,
        (3537, 3.40, 3.03, 4.12),
        (12035, 6909, 85400, 126195),
        (343, 350, 1118, 2000),
    ),
    "vidur_arxiv_summarization_llama2.csv.gz": (28257, None, (2588, 2730, 3933, 4054), (291, 167, 3271, 4056)),
    "llmservingsim_sharegpt_llama_31_8b_300_sps10_lengths.csv.gz": (
        300,
        (29, 10.3, 0.94, None),
        (857, 732, 2765, 3998),
        (653, 632, 784, 1021),
    ),
    "derived_servegen_deepseek_r1_1h_sample.csv.gz": (
        45817,
        (3600, 12.7, 1.92, None),
        (1154, 121, 21669, 51840),
        (2958, 1936, 15176, 28763),
    ),
}


@pytest.mark.parametrize("name", INVENTORY)
def test_public_traces_have_the_figures_of_their_inventory(name: str) -> None:
    rows, pace, *lengths = INVENTORY[name]
    document = _describe(Shape(str(public(name))))
    assert document["requests"] == rows
    for key, wanted in zip(("input_tokens", "output_tokens"), lengths, strict=True):
        found: dict[str, float] = document[key]  # type: ignore[assignment]
        # The inventory shows three digits or whole tokens.
        assert [found[p] for p in ("mean", "p50", "p99", "max")] == pytest.approx(wanted, abs=0.51, rel=1e-4)
    if pace is None:
        assert document["arrivals"] is None
    else:
        arrivals: dict[str, float] = document["arrivals"]  # type: ignore[assignment]
        for found_pace, wanted_pace in zip(arrivals.values(), pace, strict=True):
            assert wanted_pace is None or found_pace == pytest.approx(wanted_pace, rel=0.005, abs=0.005)


def test_public_prefixes() -> None:
    document = _describe(Shape(str(public("mooncake_conversation_trace.jsonl.gz"))))
    assert document["prefix"] == {
        "blocks": 288_500,
        "distinct_blocks": 182_790,
        "ideal_hit_ratio": pytest.approx(0.366, abs=5e-4),
    }


def test_memory_is_bounded(tmp_path: Path) -> None:
    file, rows = tmp_path / "long.csv", 300_000
    with file.open("w") as out:
        out.write("arrival_s,input_tokens,output_tokens\n")
        out.writelines(f"{i * 0.5},{i * 7919 % 8000},{i * 31 % 900}\n" for i in range(rows))
    code = f"""
import re
from pathlib import Path
from orchestrator.workload.selection import shaped
from orchestrator.workload.shape import Shape
from orchestrator.workload.statistics import Statistics
def kib(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
statistics = Statistics()
before = kib("VmRSS")
for row in shaped(Shape({str(file)!r})):
    statistics.add(row)
print(statistics.requests, kib("VmHWM") - before)
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True, text=True)
    read, grown_kib = map(int, done.stdout.split())
    assert read == rows
    # The rows held for their order take half of that; all of them would take three times the bound.
    assert grown_kib < 16 * 1024, f"{grown_kib} KiB"
