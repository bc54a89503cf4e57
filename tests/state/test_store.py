"""What every store promises, checked on SQLite and on a real Redis."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from orchestrator.state import EVENT_LIMIT, Document, Store, StoreError, open_store
from tests.state.conftest import Place


def _increment(doc: Document | None) -> Document:
    return {"n": (doc or {"n": 0})["n"] + 1}


def test_put_get_list_delete(store: Store) -> None:
    assert store.get("worker", "a") is None
    assert store.list("worker") == {}
    store.put("worker", "b", {"role": "decode", "tags": ["x", {"y": None}]})
    store.put("worker", "a", {"role": "prefill", "ratio": 0.5})
    store.put("pool", "a", {})
    assert store.get("worker", "a") == {"role": "prefill", "ratio": 0.5}
    assert list(store.list("worker")) == ["a", "b"]
    assert store.get("pool", "a") == {}
    assert store.delete("worker", "a") is True
    assert store.delete("worker", "a") is False
    assert list(store.list("worker")) == ["b"]


def test_revision_grows_with_every_change_and_only_then(store: Store) -> None:
    seen = [store.revision()]
    store.put("worker", "a", {"x": 1, "y": 2})
    seen.append(store.revision())
    store.put("worker", "a", {"x": 2})
    seen.append(store.revision())
    store.update("worker", "a", lambda doc: {"x": 3})
    seen.append(store.revision())
    store.delete("worker", "a")
    seen.append(store.revision())
    assert seen == sorted(set(seen))

    store.put("worker", "a", {"x": 1, "y": 2})
    before = store.revision()
    store.put("worker", "a", {"y": 2, "x": 1})
    store.update("worker", "a", lambda doc: doc)
    store.update("worker", "none", lambda doc: None)
    store.delete("worker", "none")
    store.append_event({"what": "nothing"})
    store.list("worker")
    assert store.revision() == before


def test_update_creates_changes_and_deletes(store: Store) -> None:
    assert store.update("counter", "c", _increment) == {"n": 1}
    assert store.update("counter", "c", _increment) == {"n": 2}
    assert store.get("counter", "c") == {"n": 2}
    assert store.update("counter", "c", lambda doc: None) is None
    assert store.get("counter", "c") is None


def test_failed_update_changes_nothing(store: Store) -> None:
    store.put("counter", "c", {"n": 1})
    before = store.revision()

    def fail(doc: Document | None) -> Document:
        assert doc is not None
        doc["n"] = 99
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        store.update("counter", "c", fail)
    assert store.get("counter", "c") == {"n": 1}
    assert store.revision() == before
    store.put("counter", "c", {"n": 2})


@pytest.mark.parametrize("doc", [["list"], "text", {"x": float("nan")}, {"x": object()}])
def test_what_is_no_json_object_is_refused(store: Store, doc: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        store.put("worker", "a", doc)  # type: ignore[arg-type]
    assert store.list("worker") == {}


def test_documents_are_copies(store: Store) -> None:
    doc: Document = {"inner": {"x": 1}}
    store.put("worker", "a", doc)
    doc["inner"]["x"] = 2
    got = store.get("worker", "a")
    assert got == {"inner": {"x": 1}}


def test_odd_names_stay_apart(store: Store) -> None:
    names = ["a:b", "a b", "ü", "*", "'; DROP TABLE documents; --", "{x}"]
    for i, name in enumerate(names):
        store.put("kind:*", name, {"i": i})
    assert {n: d["i"] for n, d in store.list("kind:*").items()} == {n: i for i, n in enumerate(names)}
    assert store.list("kind") == {}


def test_events_are_numbered_and_paged(store: Store) -> None:
    numbers = [store.append_event({"i": i}) for i in range(25)]
    assert numbers == sorted(set(numbers))
    assert [e["i"] for _, e in store.events()] == list(range(25))
    page = store.events(after=numbers[9], limit=5)
    assert [(seq, e["i"]) for seq, e in page] == [(numbers[i], i) for i in range(10, 15)]
    assert list(store.events(after=numbers[-1])) == []


def test_event_log_is_bounded(store: Store) -> None:
    last = 0
    for i in range(EVENT_LIMIT + 50):
        last = store.append_event({"i": i})
    kept = store.events(limit=2 * EVENT_LIMIT)
    assert len(kept) == EVENT_LIMIT
    assert kept[0][1] == {"i": 50} and kept[-1] == (last, {"i": EVENT_LIMIT + 49})


def test_close_twice_and_reopen(place: Place) -> None:
    first = open_store(place.url, place.cluster)
    first.put("worker", "a", {"x": 1})
    revision = first.revision()
    first.close()
    first.close()
    second = open_store(place.url, place.cluster)
    assert second.get("worker", "a") == {"x": 1} and second.revision() == revision
    second.close()


def test_threads_share_one_store(store: Store) -> None:
    def work() -> None:
        for _ in range(50):
            store.update("counter", "c", _increment)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert store.get("counter", "c") == {"n": 200}


def _write_in_process(place: Place, worker: int, rounds: int, start: Barrier) -> None:
    store = open_store(place.url, place.cluster)
    start.wait(60)
    for i in range(rounds):
        store.update("counter", "c", _increment)
        store.put("worker", f"{worker}-{i}", {"i": i})
        store.append_event({"worker": worker, "i": i})
    store.close()


def test_two_processes_write_at_once(place: Place) -> None:
    rounds = 300
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    processes = [context.Process(target=_write_in_process, args=(place, w, rounds, start)) for w in range(2)]
    for p in processes:
        p.start()
    for p in processes:
        p.join(60)
    assert [p.exitcode for p in processes] == [0, 0]
    store = open_store(place.url, place.cluster)
    assert store.get("counter", "c") == {"n": 2 * rounds}
    assert len(store.list("worker")) == 2 * rounds
    assert store.revision() == 4 * rounds
    events = store.events(limit=4 * rounds)
    assert len(events) == 2 * rounds
    for worker in range(2):
        assert [e["i"] for _, e in events if e["worker"] == worker] == list(range(rounds))
    store.close()


_ENDLESS_WRITER = """
import sys
from orchestrator.state import open_store
store = open_store(sys.argv[1], sys.argv[2])
n = 0
while True:
    n += 1
    store.update("pair", "left", lambda doc: {"n": n})
    store.update("pair", "right", lambda doc: {"n": n})
    if n == 20:
        print("going", flush=True)
"""


def test_a_killed_writer_leaves_a_usable_store(place: Place) -> None:
    command = [sys.executable, "-c", _ENDLESS_WRITER, place.url, place.cluster]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None and writer.stdout.readline() == b"going\n"
    finally:
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        if writer.stdout:
            writer.stdout.close()
    store = open_store(place.url, place.cluster)
    left, right = store.get("pair", "left"), store.get("pair", "right")
    assert left is not None and right is not None and left["n"] - right["n"] in (0, 1)
    assert store.revision() == left["n"] + right["n"]
    assert store.update("pair", "left", _increment) == {"n": left["n"] + 1}
    store.close()


def test_clusters_in_one_redis_stay_apart(redis_url: str) -> None:
    one, two = open_store(redis_url, "one"), open_store(redis_url, "two")
    one.put("worker", "a", {"x": 1})
    assert two.list("worker") == {} and two.revision() == 0
    one.close()
    two.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://x", "use sqlite"),
        ("state.db", "use sqlite"),
        ("sqlite://", "use sqlite"),
        ("sqlite:///", "use sqlite"),
        ("sqlite:////proc/nowhere/state.db", "cannot open"),
        ("redis://127.0.0.1:1/0", "redis"),
        ("redis://127.0.0.1:notaport/0", "redis"),
    ],
)
def test_a_store_that_cannot_be_opened_says_so(url: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        open_store(url)


def test_a_file_that_is_no_database_says_so(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"hello " * 1000)
    with pytest.raises(StoreError, match=r"cannot open the state file .*state.db"):
        open_store(f"sqlite:///{path}")
