"""A store that is away for a while, was damaged, removed, or came back empty."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from orchestrator.control.state_keeper import StateKeeper
from orchestrator.state import Store, StoreDamaged, StoreError, open_store
from orchestrator.state.events import Event
from tests.state.conftest import _redis_server
from workers.endpoint import EndpointPublisher

DOCUMENTS = {"cluster": {"spec": {"n": 1}}, "worker": {"w-0": {"role": "decode", "drain": {"budget_s": 3.0}}}}


def fill(store: Store) -> None:
    for kind, named in DOCUMENTS.items():
        for name, document in named.items():
            store.put(kind, name, document)


def content(store: Store) -> dict[str, dict[str, object]]:
    return {kind: store.list(kind) for kind in DOCUMENTS}


def until(condition, timeout_s: float = 20.0):  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        threading.Event().wait(0.01)
    return value


def test_restore_replaces_all_at_a_revision(store: Store) -> None:
    store.put("worker", "old", {})
    store.append_event({"reason": "Kept"})
    store.restore({**DOCUMENTS, "policy": {}}, 5000)
    assert content(store) == DOCUMENTS and store.revision() == 5000
    assert [event for _, event in store.events()] == [{"reason": "Kept"}]
    store.put("worker", "new", {})
    assert store.revision() == 5001


@pytest.mark.parametrize("how", ["overwritten", "removed", "truncated"])
def test_damaged_state_file_is_set_aside_and_written_anew(tmp_path: Path, how: str) -> None:
    path = tmp_path / "state.db"
    url = f"sqlite:///{path}"
    launcher, reader = open_store(url), open_store(url)
    fill(launcher)
    said: list[str] = []
    keeper = StateKeeper(launcher, said.append)
    keeper.look()
    before = launcher.revision()
    if how == "removed":
        path.unlink()
    else:
        for suffix in ("", "-wal"):
            with path.with_name(path.name + suffix).open("r+b") as file:
                size = file.seek(0, os.SEEK_END)
                file.truncate(0)
                file.write(bytes(size) if how == "truncated" else os.urandom(size))
        with pytest.raises(StoreError):
            fresh = open_store(url)
            fresh.put("worker", "w-0", {})
    keeper.look()
    until(lambda: keeper.look() or content(reader) == DOCUMENTS)
    assert reader.revision() > before and len(said) == 1
    assert [event["reason"] for _, event in reader.events()] == [Event.STATE_RESTORED]
    reader.put("worker", "w-1", {})
    assert launcher.get("worker", "w-1") == {}
    for opened in (launcher, reader):
        opened.close()
    again = open_store(url)
    assert again.get("worker", "w-1") == {}
    again.close()


def test_damage_has_its_own_error(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"no database at all" * 500)
    with pytest.raises(StoreDamaged):
        open_store(f"sqlite:///{path}")


@dataclass
class Server:
    """A Redis of its own that can be killed, stopped and started again, with nothing in it."""

    port: int
    directory: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [str(_redis_server()), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self.process = subprocess.Popen(command, cwd=self.directory, stdout=subprocess.DEVNULL)
        client = redis.Redis(port=self.port)
        until(lambda: self._answers(client))
        client.close()

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    @staticmethod
    def _answers(client: redis.Redis) -> bool:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


@pytest.fixture
def server(redis_url: str, tmp_path: Path, unused_tcp_port: int) -> Iterator[Server]:
    own = Server(unused_tcp_port, tmp_path)
    own.start()
    yield own
    own.kill()


def test_redis_that_comes_back_empty_is_filled_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(f"redis://127.0.0.1:{server.port}/0", "lost")
    fill(store)
    said: list[str] = []
    keeper = StateKeeper(store, said.append, look_s=0.01)
    keeper.start()
    until(lambda: keeper._copy)
    publisher = EndpointPublisher(store, "w-0")
    publisher.publish({"state": "ready", "incarnation": 7})
    until(lambda: store.get("endpoint", "w-0"))
    server.kill()
    publisher.publish({"state": "dead", "incarnation": 8})
    publisher.event("WorkerDied", "while the store was away")
    with pytest.raises(StoreError):
        store.revision()
    server.start()
    until(lambda: content(store) == DOCUMENTS)
    until(lambda: store.get("endpoint", "w-0") == {"state": "dead", "incarnation": 8})
    until(lambda: "WorkerDied" in [event["reason"] for _, event in store.events()])
    assert said and "written anew" in said[0]
    keeper.stop()
    publisher.close()
    assert store.get("endpoint", "w-0") is None and store.get("incarnation", "w-0") == {"last": 8}
    store.close()


def test_redis_that_hangs_is_waited_for_and_used_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.state.redis.TIMEOUT_S", 0.3)
    store = open_store(f"redis://127.0.0.1:{server.port}/0", "hung")
    fill(store)
    server.signal(signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(StoreError):
        store.get("cluster", "spec")
    assert time.monotonic() - started < 5.0
    server.signal(signal.SIGCONT)
    assert until(lambda: _content_or_none(store)) == DOCUMENTS
    store.close()


def _content_or_none(store: Store) -> object:
    try:
        return content(store)
    except StoreError:
        return None
