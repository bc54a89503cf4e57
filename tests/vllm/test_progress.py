"""What a child process says of its start, before it serves."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from workers.process.vllm_worker import say
from workers.supervisor import ChildProcess, last_lines


def run(lines: list[str], log: Path, told: list[str], ready: list[dict[str, Any]]) -> int:
    code = f"import sys\nfor line in {lines!r}: print(line)\nsys.exit(3)"
    command = (sys.executable, "-S", "-c", code)
    return ChildProcess(command, log, {}, ready.append, 30.0, on_progress=told.append).wait()


def progress(text: str) -> str:
    return json.dumps({"progress": text})


def test_progress_is_told_until_the_child_serves(tmp_path: Path) -> None:
    told: list[str] = []
    ready: list[dict[str, Any]] = []
    serves = '{"pid": 1, "port": 7}'
    lines = [progress("vLLM: starting"), "chatter", progress("vLLM: serving"), serves, progress("too late")]
    assert run(lines, tmp_path / "log", told, ready) == 3
    assert told == ["vLLM: starting", "vLLM: serving"]
    assert ready == [{"pid": 1, "port": 7}]
    assert last_lines(tmp_path / "log") == ["chatter", progress("too late")]


def test_listener_that_fails_stops_nothing(tmp_path: Path) -> None:
    ready: list[dict[str, Any]] = []

    def broken(text: str) -> None:
        raise RuntimeError(text)

    code = f"print({progress('a')!r}); print('{{\"pid\": 1}}')"
    child = ChildProcess(
        (sys.executable, "-S", "-c", code), tmp_path / "log", {}, ready.append, 30.0, on_progress=broken
    )
    assert child.wait() == 0
    assert ready == [{"pid": 1}]


def test_worker_says_it_as_a_host_reads_it(capsys: pytest.CaptureFixture[str]) -> None:
    say('loading "weights"')
    assert json.loads(capsys.readouterr().out) == {"progress": 'loading "weights"'}
