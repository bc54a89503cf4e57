"""The page: complete, offline, deterministic, escaped, small."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from orchestrator.report.columns import Columns
from orchestrator.report.document import Run, report
from orchestrator.report.outcome import Outcome, Verdict
from orchestrator.report.page import page
from orchestrator.report.page_latency import POINTS, cdf
from orchestrator.report.page_scale import Scale, number, seconds, upper
from orchestrator.report.page_sweep import shared_bounds
from orchestrator.report.timeline import FRONT_DOOR, Series, Timeline
from tests.report.documents import outcomes, simulated, timeline

EVIL = "<script>alert(1)</script>\"'&"


class Balance(HTMLParser):
    """Tags, text, and whether every tag that opens also closes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        if tag not in {"meta"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def _text(html: str) -> str:
    return re.sub(r"\s+", " ", " ".join(Balance(html).text))


def test_offline_balanced_and_deterministic() -> None:
    def render() -> str:
        sweep = [(2.0, simulated()), (1.0, simulated())]
        return page(simulated(), outcomes(tiers=("chat", "batch")), timeline(), sweep=sweep)

    html = render()
    assert html == render()
    assert not re.search(r"https?:|//[a-z]|\bsrc\s*=|\bhref\s*=|url\(|@import", html.replace("// ", ""))
    read = Balance(html)
    assert not read.open
    assert read.tags.count("script") == 1 and read.tags.count("svg") >= 3 + 3 + 3 + 4


def test_the_clock_stays_off_the_page() -> None:
    document = simulated()
    slower = {**document, "wall_s": 99.0, "cpu_s": 98.0}
    assert page(document, outcomes(), timeline()) == page(slower, outcomes(), timeline())


def test_figures_are_there() -> None:
    document = simulated()
    text = _text(page(document, outcomes(tiers=("chat", "batch")), timeline()))
    for expected in (
        "of 60; 0 failed, 6 rejected",
        "Goodput",
        seconds(document["ttft_s"]["p99"]).replace("\u00a0", " "),
        "SLO 500 ms",
        "SLO 50 ms",
        "5.4 kJ",
        "$0.0125",
        "least loaded",
        "40 · 74.1 %",
        "queue is full",
        "pdctl simulate --trace synthetic:poisson",
        "prefix_aware",
        "decode-2",
    ):
        assert expected in text, expected


def test_names_from_users_are_escaped() -> None:
    document = simulated(tiers=(EVIL, "b"))
    document["workers"][0]["name"] = EVIL
    document["errors"] = {EVIL: 1}
    document["scenario"] = {EVIL: EVIL, "trace": EVIL}
    document["policies"] = {"routing": EVIL}
    series = timeline(1).workers["decode-0"]
    load = Timeline({EVIL: series, "other": series})
    html = page(document, outcomes(tiers=(EVIL, "b")), load, [(1.0, document)], {EVIL: {EVIL: 3}})
    assert "<script>alert" not in html and Balance(html).tags.count("script") == 1
    assert not re.search(r'="[^"]*<script', html)
    assert "&lt;script&gt;alert(1)" in html


@pytest.mark.parametrize("workers", [1, 64, 65])
def test_panels_up_to_64_workers(workers: int) -> None:
    html = page(simulated(workers=workers), outcomes(), timeline(workers, 50))
    assert html.count('<figure class="panel">') == (workers if 1 < workers <= 64 else 0)
    assert f"{workers} workers: median" in html or workers == 1


def test_what_waits_at_the_front_door_comes_first() -> None:
    time_s = np.array([0.0, 1.0, 5.0])
    door = Series(time_s, np.array([0.0, 137.0, 12.0]))
    load = timeline(2).workers
    bare = Series(time_s, np.array([1.0, 2.0, 1.0]))
    document = simulated(workers=2)
    html = page(
        document, outcomes(), Timeline({**load, "decode-0 (2)": {"running": bare}, FRONT_DOOR: {"queue": door}})
    )
    text = _text(html)
    assert text.index("Waiting at the front door") < text.index("decode: 2 workers: median")
    assert "decode: 3 workers: median" in text, "a second life counts with its pool"
    assert html.count('<figure class="panel">') == 2, (
        "neither the front door nor a worker without queue and KV has a panel"
    )
    assert "Waiting at the front door" not in page(document, outcomes(), timeline(2))
    alone = page(document, outcomes(), Timeline({FRONT_DOOR: {"queue": door}}))
    assert "Waiting at the front door" in alone and '<figure class="panel">' not in alone


def test_the_state_of_workers_shows_where_one_died() -> None:
    document = simulated(workers=2)
    for row, state in zip(document["workers"], ("dead", "ready"), strict=True):
        row["state"] = state
    assert ">State</th>" in page(document, outcomes()) and ">dead</td>" in page(document, outcomes())
    document["workers"][0]["state"] = "ready"
    assert ">State</th>" not in page(document, outcomes())


def test_cost_names_its_basis_and_rates_their_span() -> None:
    document = simulated()
    document["scenario"]["cost basis"] = "dies and memory, over four years"
    text = _text(page(document, outcomes()))
    assert re.search(r"\$[\d.]+ per million output tokens; dies and memory, over four years", text)
    assert "Rates are per second of the whole run, its end included." in text


def test_nothing_completed() -> None:
    lost = [Outcome(Verdict.FAILED, 1.0, error="lost")] * 3
    html = page(report(lost, Run(0.0, 0.0, 0.0, 0, "1")), lost, Timeline())
    assert (
        html.count("No completed request") == 3 and "of 3; 3 failed" in html and "NaN" not in html and "nan" not in html
    )
    page(report([], Run(0.0, 0.0, 0.0, 0, "1")), [])


def test_equal_and_zero_values_draw() -> None:
    same = dataclasses.replace(outcomes(1)[0], ttft_s=0.0, e2e_s=0.0, output_tokens=1)
    flat = Series(np.array([0.0, 1.0]), np.zeros(2))
    html = page(report([same], Run(1.0, 0.0, 0.0, 0, "1")), [same], Timeline({"w": {"queue": flat, "kv": flat}}))
    assert "nan" not in html and "inf" not in html.replace("info", "")


def test_sweep_of_a_setting() -> None:
    sweep = [("least_load", simulated()), ("round_robin", simulated(seed=2))]
    html = page(sweep[1][1], outcomes(), None, sweep, axis="policies.routing")
    assert "Against policies.routing" in html and "The run at policies.routing round_robin" in html
    assert re.search(r">least_load</text>", html) and "goodput: 8.83 at least_load" in html


def test_a_sweep_shows_the_bounds_that_all_requests_share() -> None:
    sweep = [(1.0, simulated()), (2.0, simulated(seed=2))]
    marked = page(sweep[1][1], outcomes(), None, sweep)
    assert marked.count('text class="marked"') == page(simulated(), outcomes()).count('text class="marked"') + 2
    tiers = page(sweep[1][1], outcomes(), None, sweep, axis="tiers.default.ttftMs")
    assert tiers.count('text class="marked"') == page(simulated(), outcomes()).count('text class="marked"')
    one, other = outcomes()[0], dataclasses.replace(outcomes()[0], ttft_slo_s=9.0)
    assert one.ttft_slo_s is not None and one.tpot_slo_s is not None
    assert shared_bounds(Columns.of([one])) == {"ttft_s": one.ttft_slo_s, "tpot_s": one.tpot_slo_s}
    assert shared_bounds(Columns.of([one, other])) == {"tpot_s": one.tpot_slo_s}


def test_size_of_a_large_run() -> None:
    html = page(simulated(workers=16), outcomes(5000, gaps=False), timeline(16, 20_000, 600.0))
    assert len(html.encode()) < 1_500_000


def test_cdf_is_thinned_and_keeps_the_ends() -> None:
    values = np.random.default_rng(0).lognormal(0, 1, 5000)
    x, y = cdf(values)
    assert len(x) <= POINTS and x[0] == values.min() and x[-1] == values.max() and y[-1] == 1.0
    assert np.all(np.diff(x) >= 0) and np.all(np.diff(y) > 0)
    for value, share in zip(x[::37], y[::37], strict=True):
        assert share == np.mean(values <= value)


def test_ticks_and_units() -> None:
    assert np.allclose(Scale(0, 50, 0, 1).ticks(), [0, 10, 20, 30, 40, 50])
    assert np.allclose(Scale(0.01, 2, 0, 1, log=True).ticks(), [0.01, 0.03, 0.1, 0.3, 1])
    assert Scale(1, 100, 0, 10, log=True)(10.0) == pytest.approx(5.0)
    assert [upper(v) for v in (0, 0.7, 12, 100)] == [1.0, 0.8, 15.0, 100.0]
    shown = [seconds(v).replace("\u00a0", " ") for v in (0, 3.5e-4, 0.02, 1.5, 120, None)]
    assert shown == ["0", "350 µs", "20 ms", "1.5 s", "120 s", "-"]
    assert [number(v) for v in (1.25, 340, 12_345, 3.4e6, None)] == ["1.25", "340", "12.3k", "3.4M", "-"]
