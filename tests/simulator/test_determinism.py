"""The same seed gives the same report and page, byte for byte, in any process; with noise another seed gives another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN = [
    *("simulate", "-f", "examples/h200-node.yaml", "--trace", "synthetic:poisson", "--requests", "60", "--rate", "30"),
    *("--set", "simulation.noise=0.1", "--set", "simulation.viewNoise=0.2", "-o", "json"),
]


def pdctl(hash_seed: int, page: Path, *more: str) -> dict[str, Any]:
    """The report of a run in a process of its own, which also writes a page."""
    code = "from orchestrator.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *RUN, *more, "--report", str(page)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    document: dict[str, Any] = json.loads(done.stdout)
    assert document.pop("wall_s") > 0 and document.pop("cpu_s") > 0
    return document


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], bytes]:
    page = tmp_path_factory.mktemp("first") / "page.html"
    return pdctl(0, page, "--seed", "7"), page.read_bytes()


def test_the_same_seed_gives_the_same_bytes(first: tuple[dict[str, Any], bytes], tmp_path: Path) -> None:
    again, page = pdctl(4711, tmp_path / "page.html", "--seed", "7"), tmp_path / "page.html"
    assert json.dumps(again) == json.dumps(first[0])
    assert page.read_bytes() == first[1]


def test_another_seed_gives_another_report(first: tuple[dict[str, Any], bytes], tmp_path: Path) -> None:
    other = pdctl(0, tmp_path / "page.html", "--seed", "8")
    assert other["ttft_s"] != first[0]["ttft_s"]
    assert (tmp_path / "page.html").read_bytes() != first[1]
