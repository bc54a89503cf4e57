"""`pdctl compare`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Pdctl
from tests.report.documents import replayed, simulated


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for name, document in (("live", replayed()), ("model", simulated()), ("other", simulated(seed=4))):
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    return [str(tmp_path / f"{name}.json") for name in ("live", "model", "other")]


def test_table(lone: Pdctl, files: list[str]) -> None:
    done = lone("compare", *files)
    assert done.code == 0
    assert "live.json" in done.out and "CHANGE" in done.out and "seed" in done.out
    energy = next(line for line in done.out.splitlines() if line.startswith("Energy"))
    assert energy.split()[1] == "-" and "5.4 kJ" in energy
    fewer = lone("compare", files[0], files[2]).out
    ttft = next(line for line in fewer.splitlines() if line.startswith("TTFT p99"))
    assert ttft.split()[2:4] == ["749.0ms", "*"] and ttft.endswith("+18.8%")


def test_documents(lone: Pdctl, files: list[str]) -> None:
    got = json.loads(lone("compare", *files, "-o", "json").out)
    assert got["files"] == files and got["differences"]["seed"] == [0, 0, 4]
    ttft = next(f for f in got["figures"] if f["name"] == "TTFT p99")
    known = [json.loads(Path(f).read_text())["ttft_s"]["p99"] for f in files]
    assert ttft["values"] == known and ttft["ratios"][2] == pytest.approx(known[2] / known[0])
    assert ttft["best"] == (files[known.index(min(known))] if known.count(min(known)) == 1 else None)
    assert yaml.safe_load(lone("compare", *files, "-o", "yaml").out) == got


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "cannot read the report: no such file"),
        ("{", "the file is not JSON"),
        ("[1]", "the file is not a report"),
        ("{}", "the file is not a report: 'requests' is a required property"),
    ],
)
def test_not_a_report(lone: Pdctl, files: list[str], tmp_path: Path, text: str | None, expected: str) -> None:
    bad = tmp_path / "bad.json"
    if text is not None:
        bad.write_text(text)
    done = lone("compare", files[0], str(bad))
    assert done.code == 1 and len(done.err.splitlines()) == 1
    assert expected in done.err and str(bad) in done.err and "-o json" in done.err


def test_a_sweep_holds_several_reports(lone: Pdctl, files: list[str], tmp_path: Path) -> None:
    swept = tmp_path / "sweep.json"
    swept.write_text(json.dumps({"sweep": "rate", "points": [{"value": 1, "report": simulated()}] * 3}))
    done = lone("compare", files[0], str(swept))
    assert done.code == 1 and len(done.err.splitlines()) == 1
    assert "sweep.json holds the 3 reports of a sweep" in done.err and "jq '.points[0].report' sweep.json" in done.err


def test_cost_names_its_basis(lone: Pdctl, tmp_path: Path) -> None:
    names = [tmp_path / f"{name}.json" for name in ("a", "b")]
    for path, basis in zip(names, ("usdPerHour of the pools", "dies and memory"), strict=True):
        document = simulated()
        document["scenario"]["cost basis"] = basis
        path.write_text(json.dumps(document))
    same, other = lone("compare", names[0], names[0]).out, lone("compare", *names).out
    assert same.endswith("\nCost: usdPerHour of the pools\n")
    assert "\nCost: " not in other and next(line for line in other.splitlines() if line.startswith("cost basis"))


def test_one_file_is_wrong_usage(lone: Pdctl, files: list[str]) -> None:
    done = lone("compare", files[0])
    assert done.code == 2 and "name another file" in done.err
