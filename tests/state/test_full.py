"""A full disk, a Redis without memory: writes say what to do, reads go on, and room is all that is needed."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from orchestrator.recording.entries import PolicySet
from orchestrator.recording.log import DecisionLog
from orchestrator.state import StoreError, open_store
from orchestrator.state.events import Event, flush, record
from workers.overwrite import overwrite
from workers.supervisor import ChildProcess

SIZE = 1 << 20


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    directory = tmp_path / "small"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(directory)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a small file system: {done.stderr.strip()}")
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


def fill(directory: Path) -> Path:
    """Use up what is free."""
    ballast = directory / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return ballast


def test_full_disk_stops_writes_and_nothing_else(small: Path) -> None:
    url = f"sqlite:///{small / 'state.db'}"
    store = open_store(url)
    store.put("worker", "a", {"role": "decode"})
    ballast = fill(small)
    with pytest.raises(StoreError, match=r"state file .*state\.db: .*full; free space on its disk"):
        for i in range(1000):  # the file may have some pages left
            store.put("worker", f"b{i}", {"x": "y" * 1000})
    known = store.list("worker")
    assert known["a"] == {"role": "decode"} and store.revision() == len(known)
    other = open_store(url)  # a worker host or controller that starts again meanwhile
    assert other.list("worker") == known
    ballast.unlink()
    other.put("worker", "c", {})
    assert store.get("worker", "c") == {}
    for opened in (store, other):
        opened.close()


def test_events_wait_for_room_and_are_written_once(small: Path) -> None:
    store = open_store(f"sqlite:///{small / 'state.db'}")
    ballast = fill(small)
    with contextlib.suppress(StoreError):
        for i in range(1000):
            store.put("worker", f"b{i}", {"x": "y" * 1000})
    with contextlib.suppress(StoreError):
        while True:
            store.append_event({"reason": "Filler"})
    for number in range(3):
        record(store, "controller", "main", Event.TICK_FAILED, f"{number}")
    assert not flush(store)
    ballast.unlink()
    assert flush(store) and flush(store)
    told = [event["message"] for _, event in store.events(limit=10_000) if event["reason"] == Event.TICK_FAILED]
    assert told == ["0", "1", "2"]
    store.close()


def test_redis_without_memory_says_so_and_still_reads(redis_url: str) -> None:
    store = open_store(redis_url, "full")
    store.put("worker", "a", {"x": 1})
    admin = redis.Redis.from_url(redis_url)
    admin.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreError, match=r"give Redis more memory"):
            store.put("worker", "b", {})
        assert store.get("worker", "a") == {"x": 1}
    finally:
        admin.config_set("maxmemory", "0")
        admin.close()
    store.put("worker", "b", {})
    store.close()


def test_log_of_a_child_on_a_full_disk_loses_lines_and_nothing_else(small: Path) -> None:
    log = small / "child.log"
    log.touch()
    fill(small)
    code = (
        "import json, os, sys\n"
        "for i in range(2000): print('x' * 100); sys.stderr.flush()\n"
        "print(json.dumps({'pid': os.getpid()}), flush=True)\n"
        "import logging; logging.basicConfig(); logging.error('y' * 10000); os.write(1, b'z' * 200000)\n"
    )
    ready: list[dict[str, object]] = []
    child = ChildProcess((sys.executable, "-c", code), log, {}, ready.append, 30.0)
    assert child.wait() == 0
    assert [line["pid"] for line in ready] == [child.pid]


def test_configuration_of_a_child_fits_where_the_last_one_was(small: Path) -> None:
    config = small / "w-0.json"
    overwrite(config, "a" * 3000)
    fill(small)
    overwrite(config, "b" * 2000)
    assert config.read_text() == "b" * 2000


def test_record_of_decisions_ends_with_the_disk_and_requests_go_on(
    small: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(small)
    log = DecisionLog(small / "decisions.jsonl.gz", 1000, "front-door-0")
    with caplog.at_level(logging.WARNING):
        for i in range(200):
            log.policy(PolicySet("routing", "random", {"x": os.urandom(1000).hex(), "i": i}, {}))
        log.close()
    assert "ends here" in caplog.text and not log.takes
