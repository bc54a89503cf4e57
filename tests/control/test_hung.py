"""Processes that exist and do nothing: noticed, killed and replaced, and never a healthy one."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.core.config import Cluster, Faults, Spec, dump
from orchestrator.core.pulse import PulsePipe
from orchestrator.state import Store, open_store
from tests.control.conftest import eventually, exists
from tests.control.test_supervisor import host, ready
from workers.process.pulse import TransferWatch
from workers.supervisor import ChildProcess, last_lines
from workers.watch import CHECK_S, HungWatch, Limits

LIMITS = Limits(silent_s=5.0, step_s=60.0)


def heard(watch: HungWatch, start_s: float, **pulse: float) -> HungWatch:
    watch.check(start_s)
    watch.heard(pulse)
    return watch


def test_silence_counts_from_the_last_pulse() -> None:
    watch = heard(HungWatch(LIMITS), 100.0)
    checks = [100.0 + CHECK_S * i for i in range(1, 21)]
    assert not any(watch.check(now) for now in checks)
    watch.heard({})
    assert not any(watch.check(now + 5.0) for now in checks)
    assert watch.check(110.0 + CHECK_S) == "no sign of life for 5.2 s"


def test_nothing_is_expected_before_the_child_is_ready() -> None:
    watch = HungWatch(LIMITS)
    assert not any(watch.check(float(now)) for now in range(1000))


def test_supervisor_that_was_stopped_itself_blames_nobody() -> None:
    watch = heard(HungWatch(LIMITS), 100.0)
    assert watch.check(100.25) is None
    assert watch.check(100_000.0) is None  # the time in between nobody read
    watch.heard({})
    assert watch.check(100_000.25) is None


@pytest.mark.parametrize(
    ("pulse", "why"),
    [
        ({"step_s": 60.5}, "its engine step lasts for 60.5 s"),
        ({"step_s": 0.0, "transfer_s": 61.0}, "its transfer thread stands still for 61.0 s"),
        ({"step_s": 59.0, "transfer_s": 59.0}, None),
    ],
)
def test_standstill_of_a_thread_is_a_hang(pulse: dict[str, float], why: str | None) -> None:
    assert heard(HungWatch(LIMITS), 1.0, **pulse).check(1.25) == why


def test_transfer_thread_stands_still_when_its_rounds_do() -> None:
    class Counting:
        beats = 3

    transport = Counting()
    watch = TransferWatch(transport)
    assert [watch.still_s(now) for now in (10.0, 12.0)] == [0.0, 2.0]
    transport.beats = 4
    assert watch.still_s(13.0) == 0.0
    assert TransferWatch(object()).still_s(99.0) == 0.0


def test_transfer_thread_of_nixl_beats_when_idle_too() -> None:
    torch = pytest.importorskip("torch")
    from workers.transfer.base import KvPool, TransferError
    from workers.transfer.nixl import NixlTransport

    pool = KvPool(torch.zeros(8, 2, 2, 16, 2, 8), torch.zeros(8, dtype=torch.int64))
    try:
        transport = NixlTransport("beating", pool)
    except TransferError as error:
        pytest.skip(f"NIXL does not start here: {error}")
    try:
        seen = transport.beats
        eventually(lambda: transport.beats > seen + 3)
    finally:
        transport.close()


def test_engine_thread_that_is_stuck_in_a_command_shows_in_the_pulse() -> None:
    from workers.process.loop import EngineLoop

    loop, entered, leave = EngineLoop(Idle(), Idle()), threading.Event(), threading.Event()
    loop._housekeeping = lambda now_s: None  # type: ignore[method-assign]
    loop.start()
    assert loop.pulse().step_s == 0.0
    loop.post(entered.set)
    loop.post(lambda: leave.wait() and None)
    assert entered.wait(10)
    eventually(lambda: loop.pulse().step_s > 0.05)
    leave.set()
    eventually(lambda: loop.pulse().step_s == 0.0)
    loop.stop()


class Idle:
    """An engine and transport without work."""

    stats = SimpleNamespace(steps=0)

    def has_work(self) -> bool:
        return False


def test_pulses_never_wait_for_a_reader_and_arrive_whole() -> None:
    reader, writer = os.pipe()
    size = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    pipe = PulsePipe(writer)
    sent = 0
    while pipe.send({"steps": sent}):
        sent += 1
    assert sent > 10 and os.get_blocking(writer)
    lines = os.read(reader, size).splitlines()
    assert [json.loads(line) for line in lines] == [{"pulse": {"steps": i}} for i in range(sent)]
    assert pipe.send({}) and os.read(reader, size)
    os.close(reader)
    assert not pipe.send({}) and not pipe.send({})
    os.close(writer)


async def test_without_a_supervisor_there_are_no_pulses(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w+b") as file:
        await asyncio.wait_for(PulsePipe(file.fileno()).run(), 5)
        assert file.read() == b""


PULSING = """
import asyncio, os, sys, threading, time
from orchestrator.core.pulse import PulsePipe
print('{"pid": %d}' % os.getpid(), flush=True)
pulses = PulsePipe.after_ready()
pulses.send({})
print("chatter", flush=True)
"""


def pulsing(tmp_path: Path, then: str, limits: Limits, hung: list[str]) -> ChildProcess:
    command = (sys.executable, "-c", PULSING + then)
    return ChildProcess(command, tmp_path / "log", {}, lambda _: None, 30.0, limits, hung.append)


def test_hung_child_leaves_its_stacks_in_its_log(tmp_path: Path) -> None:
    hung: list[str] = []
    child = pulsing(tmp_path, "def stuck_here(): threading.Event().wait()\nstuck_here()", Limits(1.0, 60.0), hung)
    assert child.wait() == -signal.SIGKILL
    assert hung == [child.hung] and hung[0].startswith("no sign of life for 1.")
    log = "\n".join(last_lines(tmp_path / "log", 20))
    assert "chatter" in log and "hung: no sign of life" in log and "in stuck_here" in log


def test_child_that_hangs_between_its_first_pulse_and_its_ready_line(tmp_path: Path) -> None:
    code = "import threading\nfrom orchestrator.core.pulse import PulsePipe\nPulsePipe().send({})\nthreading.Event().wait()"
    ready: list[dict[str, Any]] = []
    child = ChildProcess((sys.executable, "-c", code), tmp_path / "log", {}, ready.append, 30.0, Limits(1.0, 60.0))
    started = time.monotonic()
    assert child.wait() < 0
    assert str(child.hung).startswith("no sign of life for 1.") and time.monotonic() - started < 20.0
    assert not ready


def test_child_that_pulses_lives_and_a_long_step_ends_it(tmp_path: Path) -> None:
    hung: list[str] = []
    child = pulsing(tmp_path, "asyncio.run(pulses.run(lambda t=time.monotonic(): {'step_s': time.monotonic() - t}))",
                    Limits(1.0, 2.0), hung)  # fmt: skip
    started = time.monotonic()
    assert child.wait() == -signal.SIGKILL
    assert hung[0].startswith("its engine step lasts for 2.") and time.monotonic() - started > 2.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'state.db'}")
    faults = Faults(hung_after_s=1.0, step_timeout_s=3.0)
    opened.put("cluster", "spec", dump(Cluster(spec=Spec(faults=faults))))
    yield opened
    opened.close()


def again(store: Store, before: dict[str, Any]) -> Any:
    return eventually(lambda: (e := ready(store)) and e["pid"] != before["pid"] and e)


def test_host_replaces_an_engine_that_is_stopped(tmp_path: Path, store: Store) -> None:
    supervised = host(tmp_path)
    try:
        first = eventually(lambda: ready(store))
        assert first["session_address"].startswith("127.0.0.1:")
        os.kill(first["pid"], signal.SIGSTOP)
        stopped = time.monotonic()
        dead = eventually(lambda: (e := store.get("endpoint", "w-0")) and e["state"] == "dead" and e)
        noticed_s = time.monotonic() - stopped
        second = again(store, first)
    finally:
        supervised.stop()
    assert dead["message"].startswith("hung: no sign of life for 1.") and 0.5 < noticed_s < 3.0
    assert second["incarnation"] > first["incarnation"] and second["restarts"] == 1
    assert not exists(first["pid"])
    events = eventually(lambda: len(store.events()) == 2 and [e for _, e in store.events()])
    assert [e["reason"] for e in events] == ["WorkerHung", "WorkerRestarted"]
    assert events[0]["message"].startswith(f"process {first['pid']}: hung: no sign of life")


def test_host_replaces_an_engine_whose_step_does_not_end(tmp_path: Path, store: Store) -> None:
    supervised = host(tmp_path)
    try:
        first = eventually(lambda: ready(store))
        step = tmp_path / "workers" / "w-0.step"
        step.write_text("3.5")
        dead = eventually(lambda: (e := store.get("endpoint", "w-0")) and e["state"] == "dead" and e)
        step.unlink()
        again(store, first)
    finally:
        supervised.stop()
    assert dead["message"] == "hung: its engine step lasts for 3.5 s"


def test_host_that_is_stopped_and_goes_on_keeps_its_engine(tmp_path: Path, store: Store) -> None:
    """The host of a process of its own is stopped for longer than an engine may be silent."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom tests.control.test_supervisor import host\n"
        "supervised = host(Path(sys.argv[1]))\nprint('up', flush=True)\nsys.stdin.read()\nsupervised.stop()\n"
    )
    process = subprocess.Popen(
        (sys.executable, "-c", code, str(tmp_path)), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        first = eventually(lambda: ready(store))
        os.kill(process.pid, signal.SIGSTOP)
        eventually(lambda: _unread(first["pid"]) >= 4)  # two seconds of pulses: the engine goes on
        os.kill(process.pid, signal.SIGCONT)
        # An engine step that would be a hang is noticed: the host reads pulses again, and had not blamed the engine before.
        (tmp_path / "workers" / "w-0.step").write_text("9")
        dead = eventually(lambda: (e := store.get("endpoint", "w-0")) and e["state"] == "dead" and e)
        assert dead["message"] == "hung: its engine step lasts for 9.0 s" and dead["restarts"] == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def _unread(pid: int) -> int:
    """Pulses that wait in the pipe of a process."""
    most = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        if os.readlink(link).startswith("pipe:"):
            reader = os.open(link, os.O_RDONLY | os.O_NONBLOCK)
            size = struct.unpack("i", fcntl.ioctl(reader, termios.FIONREAD, bytes(4)))[0]
            os.close(reader)
            most = max(most, size // len(json.dumps({"pulse": {"steps": 1, "step_s": 0.0}}) + "\n"))
    return most
