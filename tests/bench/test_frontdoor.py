"""The comparison of front doors: its arithmetic, and client and simulated backends against each other."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest

from bench.frontdoor import profile
from bench.frontdoor.costs import chosen, costs
from bench.frontdoor.job import Job
from bench.frontdoor.load import Client
from bench.frontdoor.measure import Run, Shape
from bench.peers.http_backend import Cluster, Connection, Server
from bench.peers.journal import Journal, number_to_ids, read_journal, request_number
from bench.peers.setting import Backends
from bench.peers.ticks import Ticks

SETTING = Backends([" one", " two", " three"], [101, 102, 103], decoders=2, step_s=0.002, prefill_s=0.001)
EMPTY = np.zeros(0)


def run_of(requests: int, tokens: int, cpu_s: float) -> Run:
    shape = Shape(200, tokens // requests, 1024, 5.0)
    return Run(shape, 5.0, cpu_s, requests, tokens, [], EMPTY, EMPTY, EMPTY, EMPTY)


def test_costs_are_told_apart() -> None:
    token_s, request_s, idle_s = 20e-6, 300e-6, 0.01
    runs = [run_of(n, t, n * request_s + t * token_s + 5 * idle_s) for n, t in ((780, 49_920), (260, 49_920))]
    found = costs(runs, idle_s)
    assert found.token_s == pytest.approx(token_s)
    assert found.request_s == pytest.approx(request_s)
    assert found.whole_s == pytest.approx(runs[0].cpu_s / 49_920)


def test_runs_are_chosen_by_cpu_per_token() -> None:
    rounds = [[run_of(10, 640, cpu_s), run_of(20, 480, 2 * cpu_s)] for cpu_s in (3.0, 1.0, 2.0)]
    assert [run.cpu_s for run in chosen(rounds, 0.0)] == [1.0, 2.0]
    assert [run.cpu_s for run in chosen(rounds, 0.5)] == [2.0, 4.0]


def test_numbers_travel_in_prompts() -> None:
    for number in (0, 1, 899, 900, 123_456, 809_999):
        assert request_number([*number_to_ids(number), 7, 8]) == number
        assert request_number(f"{number} some text") == number


def test_steps_of_decoders_do_not_coincide() -> None:
    phases = [Backends([], []).phase_s(i) for i in range(8)]
    assert len(set(phases)) == 8
    assert all(0 <= phase < 0.02 for phase in phases)


def test_journal_is_taken_once(tmp_path: Path) -> None:
    journal = Journal()
    journal.entry(5).emitted_s.append(1.5)
    journal.take(tmp_path / "a")
    journal.take(tmp_path / "b")
    assert read_journal(tmp_path / "a")[5].emitted_s == [1.5]
    assert read_journal(tmp_path / "b") == {}


async def load(expected: str, tokens: int, seconds: float = 0.05) -> tuple[Client, Cluster]:
    """Four direct clients of one prefill and two decode backends in this process."""
    loop = asyncio.get_running_loop()
    cluster = Cluster(SETTING)
    listeners, ports = [], []
    for i in range(3):
        server = Server(cluster, prefill=i == 0)
        listener = await loop.create_server(lambda s=server: Connection(s), "127.0.0.1", 0)  # type: ignore[misc]
        listeners.append(listener)
        ports.append(listener.sockets[0].getsockname()[1])
        if i:
            Ticks(SETTING.step_s, SETTING.phase_s(i - 1), server.step).start()
    job = Job(
        ports=ports[1:],
        path="/v1/completions",
        streams=4,
        tokens=tokens,
        prompt_tokens=32,
        vocabulary=1500,
        first_number=1,
        expected=expected,
        ramp_s=0.0,
        settle_s=0.0,
        seconds=seconds,
        result="",
        prefill_port=ports[0],
    )
    client = Client(job, perf_counter)
    try:
        await client.run(lambda start_s: None)
    finally:
        for listener in listeners:
            listener.close()
    return client, cluster


async def test_every_stream_is_whole_and_timed(tmp_path: Path) -> None:
    client, cluster = await load(SETTING.expected(5), 5)
    assert len(client.results) >= 4
    cluster.journal.take(tmp_path / "journal")
    journal = read_journal(tmp_path / "journal")
    for sent in client.results:
        assert sent.wrong == ""
        entry = journal[sent.number]
        assert sent.sent_s <= entry.prefill_received_s <= entry.prefill_sent_s <= sent.prefilled_s
        assert sent.decode_sent_s <= entry.decode_received_s <= entry.emitted_s[0]
        assert len(entry.emitted_s) == len(sent.tokens_s) == 5
        assert all(left <= seen for left, seen in zip(entry.emitted_s, sent.tokens_s, strict=True))


async def test_a_wrong_text_is_found() -> None:
    client, _ = await load(" one two four", 3, 0.0001)
    assert client.results
    assert all(sent.wrong.startswith("text is") for sent in client.results)


async def test_a_tick_that_fires_early_does_not_come_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    now = [10.0]
    calls: list[tuple[float, object, object]] = []
    monkeypatch.setattr("bench.peers.ticks.time.monotonic", lambda: now[0])
    monkeypatch.setattr(loop, "call_later", lambda delay, call, argument: calls.append((delay, call, argument)))
    ticked: list[float] = []
    Ticks(0.02, 0.005, lambda: ticked.append(now[0])).start()
    for _ in range(5):
        delay, call, argument = calls.pop()
        now[0] += max(0.0, delay - 0.0004)
        call(argument)  # type: ignore[operator]
    assert np.diff(ticked) == pytest.approx([0.02] * 4, abs=0.001)


def test_a_profile_is_read_by_function_and_by_call(tmp_path: Path) -> None:
    file = tmp_path / "samples"
    file.write_text("3\ta.py|run|1;b.py|send|7\n1\ta.py|run|2\n")
    own, everything, total = profile.top(file, lines=False)
    assert total == 4
    assert own == {"b.py:send": 3, "a.py:run": 1}
    assert everything == {"a.py:run": 4, "b.py:send": 3}
    assert profile.tree(file, 0.0) == [(0, "a.py:run", 1.0), (1, "b.py:send", 0.75)]
