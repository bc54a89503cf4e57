"""Requests drawn from published rates and length distributions."""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from orchestrator.workload.marginals import Marginal
from orchestrator.workload.notes import Notes
from orchestrator.workload.schedule import Planned, Shape, arrivals, plan
from orchestrator.workload.servegen import NO_LENGTHS, renewal
from orchestrator.workload.source import open_trace
from orchestrator.workload.trace import TraceError
from tests.workload.public import public

HEADER = "client_id,window_start_s,rate_rps,cv,arrival_pattern,pattern_param_1,pattern_param_2\n"


def _published(folder: Path, rates: str, lengths: list[dict[str, object]], ending: str = "") -> Path:
    file = folder / f"x_client_rates.csv{ending}"
    pdfs = "".join(json.dumps(row) + "\n" for row in lengths)
    for path, text in ((file, HEADER + rates), (folder / f"x_length_pdfs.jsonl{ending}", pdfs)):
        path.write_bytes(gzip.compress(text.encode()) if ending else text.encode())
    return file


def _pdf(client: int, window_s: int, tokens_in: dict[str, float], tokens_out: dict[str, float]) -> dict[str, object]:
    return {"client_id": client, "window_start_s": window_s, "input_tokens": tokens_in, "output_tokens": tokens_out}


@pytest.mark.parametrize(("rate", "cv"), [(0.5, 1.0), (4.0, 0.3), (2.0, 3.0), (0.02, 1.0), (3.0, 0.0)])
def test_renewal_has_the_published_rate_from_its_first_second(rate: float, cv: float) -> None:
    counts, early = [], []
    for seed in range(400):
        times = renewal(np.random.default_rng(seed), rate, cv, 600.0)
        assert (np.diff(times) >= 0).all() and (len(times) == 0 or 0 <= times[0] <= times[-1] < 600)
        counts.append(len(times))
        early.append(int((times < 60).sum()))
    for found, wanted in ((counts, 600 * rate), (early, 60 * rate)):
        assert np.mean(found) == pytest.approx(wanted, abs=4 * max(np.std(found), 0.3) / math.sqrt(400))


def test_renewal_has_the_published_burstiness() -> None:
    gaps = np.diff(renewal(np.random.default_rng(1), 50.0, 2.0, 600.0))
    assert gaps.std() / gaps.mean() == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("prefix", ["", "servegen:"])
def test_clients_keep_their_lengths(tmp_path: Path, prefix: str, ending: str) -> None:
    file = _published(
        tmp_path,
        "3,0,0.5,1,Gamma,1,1\n8,0,1.5,2,Gamma,1,1\n8,21600,1,1,Gamma,1,1\n",
        [
            _pdf(3, 0, {"10": 1.0}, {"1": 0.5, "2": 0.5}),
            _pdf(8, 0, {"90": 2.0}, {"7": 3.0}),
            _pdf(8, 21600, {"91": 1}, {"8": 1}),
        ],
        ending,
    )
    rows = plan(Shape(f"{prefix}{file}", duration_s=30000.0))
    assert [row.at_s for row in rows] == sorted(row.at_s for row in rows)
    lengths = {(row.client, row.input_tokens, row.output_tokens) for row in rows}
    assert lengths == {("3", 10, 1), ("3", 10, 2), ("8", 90, 7), ("8", 91, 8)}
    counts = Counter(row.client for row in rows)
    assert counts["3"] == pytest.approx(300, abs=4 * math.sqrt(300))
    assert all(row.at_s >= 21600 - 600 for row in rows if row.input_tokens == 91)


def test_windows_without_lengths_take_the_nearest_and_clients_without_any_are_left_out(tmp_path: Path) -> None:
    file = _published(
        tmp_path,
        "1,43200,1,1,Gamma,1,1\n1,86400,1,1,Gamma,1,1\n2,43200,5,1,Gamma,1,1\n9,43200,5,1,Gamma,1,1\n",
        [
            _pdf(1, 0, {"5": 1.0}, {"5": 1.0}),
            _pdf(1, 21600, {"6": 1.0}, {"6": 1.0}),
            _pdf(1, 43200, {}, {}),
            _pdf(1, 108000, {"7": 1.0}, {"7": 1.0}),
            _pdf(2, 43200, {}, {}),
        ],
    )
    notes = Notes()
    rows = list(arrivals(Shape(str(file), requests=10**6), notes=notes))
    first, last = rows[0], rows[-1]
    assert {row.client for row in rows} == {"1"} and (first.input_tokens, last.input_tokens) == (6, 7)
    assert notes.left_out == {NO_LENGTHS: 2} and notes.lines() == [f"left out: 2 {NO_LENGTHS}"]


def test_media_count_as_input(tmp_path: Path) -> None:
    row = {
        "client_id": 0,
        "window_start_s": 0,
        "text_tokens": {"100": 1.0},
        "image_tokens": {"650": 1.0},
        "image_count": {"0": 0.5, "2": 0.5},
        "audio_tokens": {"0": 1.0},
        "audio_count": {"0": 1.0},
        "output_tokens": {"4": 1.0},
    }
    rows = plan(Shape(str(_published(tmp_path, "0,0,2,1,Gamma,1,1\n", [row])), requests=500))
    assert {r.input_tokens for r in rows} == {100, 1400}


def test_a_slice_has_the_requests_of_the_whole(tmp_path: Path) -> None:
    rates = "".join(f"{c},{w},0.3,2,Gamma,1,1\n" for c in (0, 1) for w in range(0, 6000, 600))
    file = _published(tmp_path, rates, [_pdf(c, 0, {"1": 0.5, "9": 0.5}, {"2": 1.0}) for c in (0, 1)])
    whole = list(open_trace(str(file), 3).rows)
    part = plan(Shape(str(file), seed=3, start_s=1500.0, duration_s=2000.0))
    wanted = [row for row in whole if 1500 <= (row.arrival_s or 0) < 3500]
    assert [(p.client, p.input_tokens) for p in part] == [(row.client, row.input_tokens) for row in wanted]
    assert part != plan(Shape(str(file), seed=4, start_s=1500.0, duration_s=2000.0))
    scaled = plan(Shape(str(file), seed=3, rate=7.0, start_s=1500.0, duration_s=2000.0))
    assert (len(scaled) - 1) / scaled[-1].at_s == pytest.approx(7.0) and len(scaled) == len(part)


def test_beyond_the_published_period(tmp_path: Path) -> None:
    file = _published(tmp_path, "0,0,1,1,Gamma,1,1\n", [_pdf(0, 0, {"1": 1.0}, {"1": 1.0})])
    with pytest.raises(TraceError, match="in the chosen part"):
        plan(Shape(str(file), start_s=1e6))


def test_an_impossible_burstiness_is_bounded(tmp_path: Path) -> None:
    rates = "".join(f"0,{600 * i},0.1,1e6,Gamma,1,1\n" for i in range(200))
    file = _published(tmp_path, rates, [_pdf(0, 0, {"1": 1.0}, {"1": 1.0})])
    assert len(plan(Shape(str(file), requests=10**7))) == pytest.approx(200 * 60, rel=4 / math.sqrt(200))


@pytest.mark.parametrize(
    ("rates", "lengths", "what"),
    [
        ("0,0,x,1,Gamma,1,1\n", [_pdf(0, 0, {"1": 1.0}, {"1": 1.0})], ":2; give numbers in the columns"),
        ("0,0,-1,1,Gamma,1,1\n", [_pdf(0, 0, {"1": 1.0}, {"1": 1.0})], "rate_rps must be above 0"),
        ("0,0\n", [_pdf(0, 0, {"1": 1.0}, {"1": 1.0})], ":2; give numbers in the columns"),
        ("", [_pdf(0, 0, {"1": 1.0}, {"1": 1.0})], "the file has no rates"),
        ("0,0,1,1,Gamma,1,1\n", [_pdf(1, 0, {"1": 1.0}, {"1": 1.0})], "no client has length distributions"),
        ("0,0,1,1,Gamma,1,1\n", [_pdf(0, 0, {"1": -1.0}, {"1": 1.0})], "jsonl:1; give ServeGen's"),
        ("0,0,1,1,Gamma,1,1\n", [{"client_id": 0}], "jsonl:1; give ServeGen's"),
    ],
)
def test_mistakes(tmp_path: Path, rates: str, lengths: list[dict[str, object]], what: str) -> None:
    file = _published(tmp_path, rates, lengths)
    with pytest.raises(TraceError) as caught:
        plan(Shape(str(file)))
    assert what in str(caught.value) and "\n" not in str(caught.value)


def test_no_distributions_beside_the_rates(tmp_path: Path) -> None:
    file = _published(tmp_path, "0,0,1,1,Gamma,1,1\n", [])
    (tmp_path / "x_length_pdfs.jsonl").unlink()
    with pytest.raises(TraceError, match=r"length_pdfs[.]jsonl[.]gz beside it"):
        plan(Shape(str(file)))
    with pytest.raises(TraceError, match="no such trace"):
        plan(Shape(f"servegen:{tmp_path / 'none_client_rates.csv'}"))
    file.rename(tmp_path / "rates.csv")
    with pytest.raises(TraceError, match="does not tell where the length distributions are"):
        plan(Shape(f"servegen:{tmp_path / 'rates.csv'}"))


def test_marginals_draw_what_they_say() -> None:
    drawn = Marginal.of({"30": 0.2, "7": 0.1, "8": 0.6}).draw(np.random.default_rng(0), 90_000)
    assert {int(v): round(c / 90_000, 2) for v, c in Counter(drawn.tolist()).items()} == {30: 0.22, 7: 0.11, 8: 0.67}


def test_published_hour_has_its_rate_and_lengths() -> None:
    rates = public("servegen_reason_deepseek_r1_client_rates.csv.gz")
    begin, length = 36000.0, 3600.0
    with gzip.open(rates, "rt") as text:
        hour = [row for row in csv.DictReader(text) if begin <= float(row["window_start_s"]) < begin + length]
    expected = sum(float(row["rate_rps"]) * 600 for row in hour)
    # The variance of a renewal process' count is about cv² times its mean; a window that is over ends a burst early.
    spread = math.sqrt(sum(float(row["rate_rps"]) * 600 * max(1.0, float(row["cv"])) ** 2 for row in hour))
    rows: list[Planned] = plan(Shape(str(rates), start_s=begin, duration_s=length))
    assert len(rows) == pytest.approx(expected, abs=3 * spread) and spread < 0.06 * expected
    # Drawn by the same method with other seeds: 1154 / 121 and 2958 / 1936.
    inputs, outputs = ([getattr(row, name) for row in rows] for name in ("input_tokens", "output_tokens"))
    assert np.mean(inputs) == pytest.approx(1154, rel=0.15) and np.median(inputs) == pytest.approx(121, rel=0.05)
    assert np.mean(outputs) == pytest.approx(2958, rel=0.06) and np.median(outputs) == pytest.approx(1936, rel=0.08)


def test_published_clients_without_lengths_are_counted() -> None:
    rates = public("servegen_language_m_small_client_rates.csv.gz")
    notes = Notes()
    rows = list(arrivals(Shape(str(rates), requests=200), notes=notes))
    assert len(rows) == 200 and notes.left_out == {NO_LENGTHS: 5}
