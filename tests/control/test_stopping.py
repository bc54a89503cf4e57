"""How a launcher is told to stop, and what its front doors get of it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.control.budget import budget_at, drain_budget_s
from orchestrator.control.frontdoors import FrontDoors
from orchestrator.control.rundir import RunDirectory
from orchestrator.control.signals import DRAIN, NOW, Interrupted, StopSignal
from orchestrator.core.config import Cluster, Drain, Spec, dump
from orchestrator.state import open_store


@pytest.fixture
def stop() -> Iterator[StopSignal]:
    before = {number: signal.getsignal(number) for number in (*DRAIN, NOW)}
    stop = StopSignal()
    stop.install()
    yield stop
    for number, handler in before.items():
        signal.signal(number, handler)


def raised(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def test_first_signal_drains_and_the_second_does_not_wait(stop: StopSignal) -> None:
    stop.starting = False
    raised(signal.SIGTERM)
    stop.wait()
    assert not stop.now.is_set()
    raised(signal.SIGTERM)
    assert stop.now.is_set()


def test_quit_does_not_wait(stop: StopSignal) -> None:
    stop.starting = False
    raised(NOW)
    stop.wait()
    assert stop.now.is_set()


def test_any_signal_interrupts_a_start(stop: StopSignal) -> None:
    for number in (signal.SIGINT, NOW):
        stop._event.clear()
        with pytest.raises(Interrupted):
            raised(number)


def test_budget_in_force(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    store = open_store(url)
    assert drain_budget_s(store) == Cluster().spec.drain.budget_s
    store.put("cluster", "spec", dump(Cluster(spec=Spec(drain=Drain(budget_s=7.0)))))
    assert (drain_budget_s(store), budget_at(url, "any")) == (7.0, 7.0)
    store.close()
    assert budget_at("nonsense://", "any") == Cluster().spec.drain.budget_s


DOOR = """
import json, os, signal, sys, threading
got = []
done = threading.Event()
def take(number, frame):
    got.append(number)
    if len(got) == {signals}:
        done.set()
signal.signal(signal.SIGTERM, take)
print(json.dumps({{"http_port": 1, "grpc_port": 2, "pid": os.getpid()}}), flush=True)
while not done.wait(0.01):
    pass
open({told!r}, "w").write(str(len(got)))
"""


def doors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals: int) -> tuple[FrontDoors, Path]:
    """Front doors that end with the `signals`-th SIGTERM, and then write how many they got."""
    told = tmp_path / "told"
    code = DOOR.format(signals=signals, told=str(told))
    monkeypatch.setattr("orchestrator.control.frontdoors.COMMAND", (sys.executable, "-c", code))
    run_dir = RunDirectory(tmp_path)
    run_dir.prepare()
    store: Any = open_store(f"sqlite:///{tmp_path / 'state.db'}")
    return FrontDoors(Cluster(), run_dir, store, "unused"), told


def test_front_doors_finish_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running, told = doors(tmp_path, monkeypatch, 1)
    running.start()
    running._store.put("frontdoor", "another", {"pid": 1})
    running.stop(30.0, threading.Event())
    assert (told.read_text(), running.serving()) == ("1", 0)
    assert running._store.get("frontdoor", "another") == {"pid": 1, "draining": True}, "marked before any is told"


def test_front_doors_that_are_told_not_to_wait_get_a_second_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, told = doors(tmp_path, monkeypatch, 2)
    now = threading.Event()
    running.start()
    threading.Timer(0.2, now.set).start()
    running.stop(60.0, now)
    assert (told.read_text(), running.serving()) == ("2", 0)


def test_front_doors_that_do_not_end_are_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running, told = doors(tmp_path, monkeypatch, 9)
    running.start()
    running.stop(0.2)
    assert (told.exists(), running.serving()) == (False, 0)
