"""The end of a log file, and what is added to it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.logs import Follower, Logs, UnknownLog, last_bytes
from orchestrator.logs import tail as module


@given(
    st.lists(st.binary(max_size=9).map(lambda b: b.replace(b"\n", b"").replace(b"\r", b"")), max_size=12),
    st.booleans(),
    st.integers(0, 15),
)
def test_last_lines_are_those_of_the_file(rows: list[bytes], finished: bool, lines: int) -> None:
    text = b"\n".join(rows) + (b"\n" if finished and rows else b"")
    wanted = text.split(b"\n")
    if wanted[-1] == b"":
        wanted.pop()
    expected = wanted[-lines:] if lines else []
    got = last_bytes(io.BytesIO(text), lines)
    assert got.removesuffix(b"\n").split(b"\n") == expected or (got == b"" and not expected)
    assert text.endswith(got)


def test_no_more_than_the_bound_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    monkeypatch.setattr(module, "CHUNK_BYTES", 30)
    assert len(last_bytes(io.BytesIO(b"x" * 1000), 5)) <= 100
    assert last_bytes(io.BytesIO(b"one\n" * 1000), 3) == b"one\n" * 3


def test_follower_reads_what_is_added_and_starts_again_after_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    follower = Follower(path)
    assert (follower.start(10), follower.more()) == (b"", b"")
    path.write_bytes(b"one\ntwo\n")
    assert follower.more() == b"one\ntwo\n"
    with path.open("ab") as file:
        file.write(b"three\n")
    assert (follower.more(), follower.more()) == (b"three\n", b"")
    path.rename(tmp_path / "a.log.1")
    assert follower.more() == b""
    path.write_bytes(b"four\n")
    assert (follower.more(), follower.more()) == (b"", b"four\n")
    path.write_bytes(b"5\n")
    assert (follower.more(), follower.more()) == (b"", b"5\n")
    follower.close()


def test_names_of_logs(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    assert logs.names() == []
    (tmp_path / "logs").mkdir()
    for name in ("decode-0", "controller", "front-door-0"):
        (logs.directory / f"{name}.log").touch()
    (tmp_path / "secret.log").touch()
    assert logs.path("frontdoor") == logs.path("front-door") == logs.path("front-door-0")
    for name in ("../secret", "nothing", "", "decode-0\0", "/etc/passwd"):
        with pytest.raises(UnknownLog) as caught:
            logs.path(name)
        assert caught.value.known == ["controller", "decode-0", "front-door-0"]
    (logs.directory / "front-door-1.log").touch()
    with pytest.raises(UnknownLog) as caught:
        logs.path("frontdoor")
    assert caught.value.known == ["front-door-0", "front-door-1"]
