"""Front door processes that share a port and are told to end, one of them or all: no client is refused or reset."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.control.frontdoors import FrontDoors
from orchestrator.control.rundir import RunDirectory
from orchestrator.core.config import dump, loads
from orchestrator.state import Store, open_store
from tests.control.conftest import eventually
from tests.frontend.held_worker import INCARNATION, HeldWorker

SPEC = """
apiVersion: pd/v1
kind: Cluster
metadata: {{name: shutdown}}
spec:
  model: {{path: {model}, name: shutdown}}
  frontDoor: {{httpPort: 0, grpcPort: 0, processes: 2, refuseLate: false}}
  drain: {{budgetS: 100}}
  pools:
    - {{name: all, role: both, count: 1}}
"""
DOORS = ("front-door-0", "front-door-1")
START_S = 60.0
TIMEOUT_S = 30.0
WAITING = 64
"""Connections that are there when a front door is told to end."""

Answer = tuple[int, http.client.HTTPMessage]


class Serving:
    """Two front doors of a launcher, before one worker."""

    def __init__(self, directory: Path, model: Path) -> None:
        cluster = loads(SPEC.format(model=model), directory=directory)
        run_dir = RunDirectory(directory)
        run_dir.prepare()
        url = f"sqlite:///{directory / 'state.db'}"
        self.store: Store = open_store(url, cluster.name)
        self.store.put("cluster", "spec", dump(cluster))
        self.worker = HeldWorker()
        wanted = {"name": "all-0", "pool": "all", "role": "both", "index": 0, "drain": None, "drained": False}
        self.store.put("worker", "all-0", wanted)
        endpoint = {"name": "all-0", "incarnation": INCARNATION, "state": "ready", "pid": 0, "restarts": 0}
        addresses = {"address": self.worker.address, "session_address": self.worker.address}
        self.store.put("endpoint", "all-0", endpoint | addresses | {"message": "", "node": "", "host_pid": 0})
        self.doors = FrontDoors(cluster, run_dir, self.store, url)
        self.clients = ThreadPoolExecutor(16)
        self.doors.start()

    def pid(self, door: str) -> int:
        return int((self.store.get("frontdoor", door) or {}).get("pid", 0))

    def ask(self, tokens: int = 1, path: str = "/v1/completions") -> Answer:
        """One request on a connection of its own."""
        client = http.client.HTTPConnection("127.0.0.1", self.doors.http_port, timeout=TIMEOUT_S)
        try:
            if path == "/v1/completions":
                client.request("POST", path, request_body(tokens), {"Content-Type": "application/json"})
            else:
                client.request("GET", path)
            answer = client.getresponse()
            answer.read()
            return answer.status, answer.headers
        finally:
            client.close()

    def both_serve(self) -> None:
        """Wait until each front door has had a request answered by the worker."""
        self.worker.forget()

        def served() -> bool:
            status, _ = self.ask()
            assert status in (200, 503), status
            return self.worker.served == set(DOORS)

        eventually(served, START_S)

    def hold(self) -> list[Future[Answer]]:
        """Requests that run until they are let go, at least one on each front door."""
        running: list[Future[Answer]] = []
        while set(self.worker.held) != set(DOORS):
            assert len(running) < 16, f"16 connections went to {set(self.worker.held)} alone"
            running.append(self.clients.submit(self.ask, 2))
            eventually(lambda: len(self.worker.held) == len(running))
        return running

    def listeners(self) -> int:
        """Sockets that listen on the port."""
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        wanted = f":{self.doors.http_port:04X}"
        return sum(fields[1].endswith(wanted) and fields[3] == "0A" for fields in map(str.split, lines))

    def close(self) -> None:
        self.doors.stop(5.0)
        self.worker.close()
        self.clients.shutdown()
        self.store.close()


def request_body(tokens: int) -> bytes:
    return json.dumps({"model": "shutdown", "prompt": [66, 67, 68], "max_tokens": tokens}).encode()


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory, model_dir: Path) -> Iterator[Serving]:
    serving = Serving(tmp_path_factory.mktemp("shutdown"), model_dir)
    yield serving
    serving.close()


def is_refusal(answer: Answer) -> bool:
    """An answer that tells the client to come again, on another connection."""
    status, headers = answer
    return (status, headers["Connection"]) == (503, "close") and int(headers["Retry-After"]) >= 1


def test_one_of_several_that_ends_leaves_new_clients_to_the_others(serving: Serving) -> None:
    serving.both_serve()
    running = serving.hold()
    pid = serving.pid(DOORS[0])
    os.kill(pid, signal.SIGSTOP)
    waiting = [socket.create_connection(("127.0.0.1", serving.doors.http_port), TIMEOUT_S) for _ in range(WAITING)]
    body = request_body(1)
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    for client in waiting:
        client.sendall(head % len(body) + body)
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGCONT)
    statuses = [client.recv(12)[-3:] for client in waiting]  # a reset raises
    for client in waiting:
        client.close()
    assert set(statuses) <= {b"200", b"503"} and b"200" in statuses
    while serving.listeners() > 1:
        answer = serving.ask()
        assert answer[0] == 200 or is_refusal(answer)
    assert [serving.ask()[0] for _ in range(20)] == [200] * 20
    assert serving.pid(DOORS[0]) == pid, "it still has a request"
    for door in DOORS:
        serving.worker.let_go(door)
    assert [request.result(TIMEOUT_S)[0] for request in running] == [200] * len(running)
    eventually(lambda: serving.pid(DOORS[0]) not in (0, pid), START_S)


def test_all_that_end_answer_new_clients_until_the_last_request_is_done(serving: Serving) -> None:
    serving.both_serve()
    running = serving.hold()
    stopping = threading.Thread(target=serving.doors.stop, args=(TIMEOUT_S,))
    stopping.start()
    eventually(lambda: serving.ask(path="/ready")[0] == 503)
    seen = [serving.ask() for _ in range(40)]
    assert serving.listeners() == 2
    while not all(map(is_refusal, seen)):  # the other front door was told a moment later
        assert all(answer[0] == 200 or is_refusal(answer) for answer in seen)
        seen = [serving.ask() for _ in range(40)]
    serving.worker.let_go(DOORS[0])
    eventually(lambda: serving.listeners() == 1)
    assert all(is_refusal(serving.ask()) for _ in range(20)) and serving.ask(path="/ready")[0] == 503
    serving.worker.let_go(DOORS[1])
    assert [request.result(TIMEOUT_S)[0] for request in running] == [200] * len(running)
    stopping.join(TIMEOUT_S)
    assert (serving.doors.serving(), serving.listeners()) == (0, 0)
