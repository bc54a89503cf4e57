"""Fixtures: `pdctl` as a function, and doubles of the servers that it talks to."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestrator.cli.main import app
from tests.cli.admin_double import AdminDouble, AdminServer
from tests.cli.http_double import HttpServer


@dataclass(frozen=True)
class Outcome:
    """What one command line did."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Pdctl = Callable[..., Outcome]


@pytest.fixture(scope="session")
def _server() -> Iterator[AdminServer]:
    server = AdminServer()
    yield server
    server.stop()


@pytest.fixture
def admin(_server: AdminServer) -> AdminDouble:
    """The Admin double, reset."""
    _server.double.__init__()  # type: ignore[misc]
    return _server.double


@pytest.fixture
def run_dir(tmp_path: Path, _server: AdminServer) -> Path:
    """A run directory whose cluster.json points at the Admin double."""
    document = {"name": "test", "grpc_address": _server.address, "http_url": "", "pid": 0}
    (tmp_path / "cluster.json").write_text(json.dumps(document))
    return tmp_path


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the caller's shell exports for a cluster of its own is nothing to these tests."""
    for name in [name for name in os.environ if name.startswith("TANDEM_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def lone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pdctl:
    """`pdctl` where no cluster runs."""
    monkeypatch.setenv("TANDEM_RUN_DIR", str(tmp_path / "nothing"))
    monkeypatch.setenv("NO_COLOR", "1")
    return _invoke


@pytest.fixture
def pdctl(lone: Pdctl, admin: AdminDouble, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Pdctl:
    """`pdctl` next to a cluster made of the doubles."""
    monkeypatch.setenv("TANDEM_RUN_DIR", str(run_dir))
    return _invoke


def _invoke(*line: str) -> Outcome:
    result = CliRunner().invoke(app, [str(word) for word in line])
    return Outcome(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def endpoint() -> Iterator[HttpServer]:
    """A double of an OpenAI-compatible server."""
    server = HttpServer()
    yield server
    server.stop()
