"""How `pdctl simulate` ends early or in vain: Ctrl-C, places that cannot be written, faults that come too late."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import simulate_once
from orchestrator.workload.schedule import Planned, arrivals
from orchestrator.workload.shape import Shape
from tests.cli.conftest import Pdctl

SMALL = "simulate --trace synthetic:poisson --requests 40 --rate 4 --seed 1 --set frontDoor.refuseLate=false"
FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
def test_a_full_output_is_one_line() -> None:
    for verb in (["version"], SMALL.split()):
        with FULL.open("w") as full:
            line = [sys.executable, "-c", "from orchestrator.cli.main import main; main()", *verb]
            done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 1
        assert done.stderr == "error: cannot write the output: no space left on device; choose another place\n"


def test_a_reader_that_leaves_early_does_not_cost_the_page(tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    reader, writer = os.pipe()
    os.close(reader)
    line = [sys.executable, "-c", "from orchestrator.cli.main import main; main()", *SMALL.split(), "--report", page]
    done = subprocess.run(line, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.stderr == "" and page.read_text().lower().startswith("<!doctype html>")


@pytest.mark.parametrize("option", ["--report", "--chrome"])
def test_files_that_cannot_be_written_are_one_line_after_the_report(pdctl: Pdctl, tmp_path: Path, option: str) -> None:
    place = tmp_path / "taken.json"
    place.mkdir()
    got = pdctl(*SMALL.split(), option, str(place))
    assert got.code == 1 and "Requests:    40 submitted" in got.out
    assert got.err == f"error: cannot write {place}: is a directory; choose another place\n"


def test_faults_after_the_load_are_told(pdctl: Pdctl) -> None:
    got = pdctl(*SMALL.split(), "--fail", "decode-0@2+1", "--fail", "prefill-0@1000")
    notes = [line for line in got.err.splitlines() if line.startswith("note: ")]
    assert len(notes) == 1 and notes[0].startswith("note: the load ended after ")
    assert notes[0].endswith("s: prefill-0@1000 did not happen")
    workers = [line.split() for line in got.out.splitlines() if line.startswith("decode-0 ")]
    assert [cells[2] for cells in workers] == ["dead", "ready"] and "STATE" in got.out
    assert "STATE" not in pdctl(*SMALL.split()).out


def _stopping(at_rate: float) -> Callable[..., Iterator[Planned]]:
    """`arrivals` during which the user presses Ctrl-C after 7 requests of that rate."""

    def arriving(shape: Shape, *others: Any) -> Iterator[Planned]:
        found = arrivals(shape, *others)
        if shape.rate == at_rate:
            yield from islice(found, 7)
            raise KeyboardInterrupt
        yield from found

    return arriving


def test_an_interrupted_run_says_so(pdctl: Pdctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulate_once, "arrivals", _stopping(4))
    got = pdctl(*SMALL.split(), "--report", str(tmp_path / "r.html"))
    assert (got.code, got.out, got.err) == (130, "", "interrupted after 7 requests; nothing written\n")
    assert not (tmp_path / "r.html").exists()


def test_an_interrupted_sweep_keeps_its_points(pdctl: Pdctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulate_once, "arrivals", _stopping(3))
    report = tmp_path / "r.json"
    got = pdctl(*SMALL.split(), "--sweep", "rate=1:4:1", "--report", str(report))
    assert got.code == 130 and [line.split()[0] for line in got.out.splitlines()] == ["RATE", "1", "2"]
    assert got.err == "interrupted at rate=3 after 7 requests; 2 of 4 points are done\n"
    assert [point["value"] for point in json.loads(report.read_text())["points"]] == [1, 2]
    first = pdctl(*SMALL.split(), "--sweep", "rate=3,4")
    assert (first.code, first.out) == (130, "") and "nothing written" in first.err


def test_a_sweep_tells_failures_from_rejections(pdctl: Pdctl) -> None:
    got = pdctl(*SMALL.split(), "--sweep", "frontDoor.requestTimeoutS=0.1,600")
    header, failing, fine = (line.split() for line in got.out.splitlines())
    assert header[-2:] == ["FAILED", "REJECTED"] and failing[-2:] == ["40", "0"] and fine[-2:] == ["0", "0"]
    line = f"{SMALL} --rate 400 --set frontDoor.maxConcurrent=1 --set frontDoor.maxQueue=1 --sweep engine.maxBatch=8"
    refused = pdctl(*line.split()).out.splitlines()[1].split()
    assert refused[-2] == "0" and int(refused[-1]) > 0


def test_the_report_says_what_cost_counts(pdctl: Pdctl) -> None:
    line = [*SMALL.split(), "--set", "simulation.model=llama-3.1-8b", "--set", "simulation.hardware=h100"]
    line += ["--set", "model.dtype=bfloat16"]
    assert " (dies and memory, over four years; set usdPerHour of the pools for a price)" in pdctl(*line).out
    half = pdctl(*line, "--set", "pools.decode.usdPerHour=3").out
    assert " (dies and memory, over four years and usdPerHour of the pools; set usdPerHour" in half
    whole = pdctl(*line, "--set", "pools.decode.usdPerHour=3", "--set", "pools.prefill.usdPerHour=3").out
    assert " (usdPerHour of the pools)\n" in whole
