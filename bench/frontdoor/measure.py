"""One run of one system: load on it for a while, its CPU and its latencies meanwhile."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.frontdoor.cpu import tree_cpu_s
from bench.frontdoor.job import Job, Sent, read_result
from bench.frontdoor.process import Child
from bench.frontdoor.system import System
from bench.peers.journal import Entry, read_journal
from bench.peers.setting import Backends

Array = NDArray[np.float64]
SETTLE_S = 0.3
END_S = 30.0
VOCABULARY = 1500


@dataclass(frozen=True, slots=True)
class Shape:
    """`streams` at once, each of `tokens` tokens after a prompt of `prompt_tokens`, for `seconds` after a warm-up."""

    streams: int
    tokens: int
    prompt_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Run:
    """What was seen. Counts are of the measured window; times in seconds, of requests sent in it."""

    shape: Shape
    seconds: float
    cpu_s: float
    requests: int
    tokens: int
    wrong: list[str]
    outside_s: Array
    """Time to first token less the time that backends took: router, network, client. Shape (requests,)."""
    one_leg_s: Array
    """Direct only: the same of the prefill leg alone."""
    delay_s: Array
    """From backend to client, each token but the first. Shape (tokens,)."""
    gaps_s: Array
    """Between tokens at the client, without the gap after the first, in which a handoff may lie. Shape (gaps,)."""


class Runner:
    """Runs systems one at a time; numbers its requests so that backends and client speak of the same ones."""

    def __init__(self, setting: Backends, directory: Path, seed: int) -> None:
        self._setting = setting
        self._directory = directory
        self._seed = seed
        self._number = 1

    def run(self, system: System, shape: Shape, text_prompt: str = "") -> Run:
        """Load `system`; raises RuntimeError if the client or the system dies."""
        ramp_s = max(0.2, shape.tokens * self._setting.step_s)
        job_path, result_path = self._directory / "job.json", self._directory / "result.json"
        job = Job(
            ports=system.ports,
            path=system.path,
            streams=shape.streams,
            tokens=shape.tokens,
            prompt_tokens=shape.prompt_tokens,
            vocabulary=VOCABULARY,
            first_number=self._number,
            expected=self._setting.expected(shape.tokens),
            ramp_s=ramp_s,
            settle_s=SETTLE_S,
            seconds=shape.seconds,
            result=str(result_path),
            seed=self._seed,
            prefill_port=system.prefill_port,
            text_prompt=text_prompt,
        )
        job.dump(job_path)
        command = [sys.executable, "-m", "bench.frontdoor.load", str(job_path)]
        client = Child(command, self._directory / "load.log")
        try:
            start_s, stop_s = job.window(client.ready["start_s"])
            time.sleep(max(0.0, start_s - time.perf_counter()))
            first_s, first_cpu_s = time.perf_counter(), _cpu_s(system)
            time.sleep(max(0.0, stop_s - time.perf_counter()))
            last_s, last_cpu_s = time.perf_counter(), _cpu_s(system)
            if client.wait(END_S + shape.tokens * self._setting.step_s) != 0:
                raise RuntimeError(f"the load client failed: {client.log_tail()}")
        finally:
            client.end()
        journal_path = self._directory / "journal.json"
        system.backends.ask(f"take {journal_path}")
        sent = read_result(result_path)
        self._number += len(sent)
        journal = read_journal(journal_path)
        return _evaluate(system, shape, sent, journal, (first_s, last_s), last_cpu_s - first_cpu_s)

    def idle(self, systems: list[System], seconds: float) -> dict[str, float]:
        """CPU seconds per second of each system that has nothing to do."""
        before = {system.name: _cpu_s(system) for system in systems}
        time.sleep(seconds)
        return {system.name: (_cpu_s(system) - before[system.name]) / seconds for system in systems}


def _cpu_s(system: System) -> float:
    if system.process is None:
        return 0.0
    if not system.process.alive:
        raise RuntimeError(f"{system.name} ended: {system.process.log_tail()}")
    return tree_cpu_s(system.process.pid)


def _evaluate(
    system: System,
    shape: Shape,
    sent: list[Sent],
    journal: dict[int, Entry],
    window: tuple[float, float],
    cpu_s: float,
) -> Run:
    first_s, last_s = window
    seen = [request for request in sent if first_s <= request.sent_s < last_s]
    good = [request for request in seen if not request.wrong]
    outside = [r.tokens_s[0] - r.sent_s - system.backend_s(journal[r.number]) for r in good]
    one_leg = [r.prefilled_s - r.sent_s - _prefill_s(journal[r.number]) for r in good if r.prefilled_s]
    delays = [
        r.tokens_s[i] - system.token_s(journal[r.number], i)
        for r in good
        for i in range(1, min(shape.tokens, len(r.tokens_s)))
    ]
    gaps = [np.diff(r.tokens_s[1:]) for r in good]
    return Run(
        shape=shape,
        seconds=last_s - first_s,
        cpu_s=cpu_s,
        requests=len(seen),
        tokens=sum(first_s <= t < last_s for r in sent for t in r.tokens_s),
        wrong=[r.wrong for r in sent if r.wrong],
        outside_s=np.array(outside),
        one_leg_s=np.array(one_leg),
        delay_s=np.array(delays),
        gaps_s=np.concatenate(gaps) if gaps else np.zeros(0),
    )


def _prefill_s(entry: Entry) -> float:
    return entry.prefill_sent_s - entry.prefill_received_s
