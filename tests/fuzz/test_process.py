"""The same kinds of requests against a front door process with simulated workers: it keeps its size and goes on serving."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.frontdoor.process import Child
from bench.frontdoor.system import System
from bench.frontdoor.systems import session_backends, tandem
from bench.peers.setting import Backends
from tests.fuzz import framing, heads
from tests.fuzz.bodies import VALID, endpoints, mutated
from tests.fuzz.messages import encoded
from tests.fuzz.requests import post
from tests.fuzz.share import SENT, share
from tests.fuzz.test_grpc import METHODS, call
from tests.fuzz.verdict import check_answer
from tests.fuzz.wire import talk

PATIENCE_S = 0.4
REST_S = 8.0
MOST_GROWTH_BYTES = 48 << 20
GOOD = post("/v1/completions", b'{"model":"demo","prompt":[300,301,302],"max_tokens":3,"ignore_eos":true}')
METRICS = b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Size:
    """What a process holds."""

    memory_bytes: int
    descriptors: int
    threads: int
    tasks: int


@dataclass(frozen=True, slots=True)
class Process:
    """A front door process and its workers."""

    system: System
    log: Path

    @property
    def port(self) -> int:
        return self.system.ports[0]

    @property
    def child(self) -> Child:
        assert self.system.process is not None
        return self.system.process

    def size(self) -> Size:
        found = psutil.Process(self.child.pid)
        (answer,) = talk(self.port, [METRICS], ["GET"]).answers
        tasks = re.search(rb"^\S*frontdoor_tasks\S* (\d+)", answer.body, re.M)
        assert tasks is not None
        return Size(found.memory_info().rss, found.num_fds(), found.num_threads(), int(tasks[1]))

    def rest(self, like: Size) -> Size:
        """Its size when it is as `like`, or after REST_S."""
        deadline = time.monotonic() + REST_S
        while (now := self.size()).descriptors > like.descriptors or now.tasks > like.tasks:
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        return now


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    directory = tmp_path_factory.mktemp("process")
    backends = session_backends(Backends(["a", "b"], [300, 301], decoders=2, step_s=0.002, prefill_s=0.001), directory)
    try:
        system = tandem("round_robin", backends, directory)
        assert system.process is not None
        try:
            yield Process(system, directory / "tandem-round_robin" / "front-door.log")
        finally:
            system.process.end()
    finally:
        backends.end()


@pytest.fixture(scope="module")
def channel(process: Process) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(
        f"127.0.0.1:{process.child.ready['grpc_port']}", [("grpc.enable_http_proxy", 0)]
    ) as opened:
        yield opened


def test_storm(process: Process, channel: grpc.Channel) -> None:
    @share("process")
    @given(data=st.data())
    def storm(data: st.DataObject) -> None:
        SENT["process"] += 1
        kind = data.draw(st.sampled_from(["body", "body", "framing", "heads", "grpc"]))
        if kind == "grpc":
            method = data.draw(st.sampled_from([m for m in METHODS if m.containing_service.name == "Router"]))
            call(channel, method, data.draw(encoded(method.input_type)))
            return
        method_name, silent = "POST", True
        if kind == "body":
            path = data.draw(endpoints(sorted(VALID)))
            sent, silent = post(path, data.draw(mutated(path)).replace(b'"tiny"', b'"demo"')), False
        else:
            sent = data.draw(framing.cases if kind == "framing" else heads.cases).data
            method_name = "HEAD" if sent.startswith(b"HEAD ") else "POST"
        try:
            heard = talk(process.port, [sent], [method_name], limit_s=30.0 if not silent else PATIENCE_S)
        except TimeoutError:
            assert silent, sent[:2000]  # it waits for the rest, and we hang up
            return
        assert heard.answers or silent, sent[:2000]
        for answer in heard.answers:
            check_answer(answer, sent, method_name)

    _good(process)
    grpc.channel_ready_future(channel).result(10)
    fresh = process.size()
    storm()
    before = process.rest(fresh)  # with what is made once and kept, such as threads and the memory of large bodies
    storm()
    _good(process)
    after = process.rest(before)
    assert after.descriptors <= before.descriptors and after.tasks <= before.tasks, (before, after)
    assert after.threads <= before.threads + 2, (before, after)
    assert after.memory_bytes - before.memory_bytes < MOST_GROWTH_BYTES, (before, after)
    assert process.child.alive
    log = process.log.read_text(errors="replace")
    assert "Traceback" not in log and " ERROR " not in log, log[-4000:]


def _good(process: Process) -> None:
    for _ in range(20):
        (answer,) = talk(process.port, [GOOD]).answers
        assert answer.status == 200, answer
