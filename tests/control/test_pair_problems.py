"""A pair of workers that cannot exchange KV is reported before a request needs it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from orchestrator.control import startup
from orchestrator.control.prewarm import Pair, Peer
from orchestrator.control.probe import Probe
from orchestrator.core.cluster import Role
from pd.v1 import worker_pb2 as pb
from pd.v1 import worker_pb2_grpc

WHY = "no KV can be pulled from prefill-0: the servers' compatibility hashes differ"


class Puller(worker_pb2_grpc.WorkerServicer):
    problem = WHY

    def ConnectPeer(self, request: pb.ConnectPeerRequest, context: Any) -> pb.ConnectPeerReply:
        return pb.ConnectPeerReply(connected=not self.problem, problem=self.problem)


@contextmanager
def serving(puller: Puller) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    worker_pb2_grpc.add_WorkerServicer_to_server(puller, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def until(condition: Any) -> None:
    deadline_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline_s


def test_a_probe_keeps_the_reason_until_the_pair_is_warm_or_gone() -> None:
    puller, probe = Puller(), Probe()
    with serving(puller) as address:
        pair = Pair("decode-0", 1, "prefill-0", 1)
        sides = Peer("decode-0", 1, Role.DECODE, address, b""), Peer("prefill-0", 1, Role.PREFILL, "", b"m")

        def ask(condition: Any) -> None:
            until(lambda: probe.connect(pair, *sides) or condition())

        ask(lambda: probe.problems == {pair: WHY})
        puller.problem = ""
        ask(lambda: probe.take_connected() == [pair])
        assert not probe.problems
        puller.problem = WHY
        ask(lambda: probe.problems)
        probe.forget({"decode-0": {"incarnation": 2, "address": address}})
        assert not probe.problems


def test_a_start_says_why_a_pair_stays_cold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "WARM_S", 0.2)
    status = {"pairs_warm": 0, "pairs_wanted": 1, "workers_described": 2, "pair_problems": [WHY]}
    said: list[str] = []
    startup.wait_for_pairs(lambda: status, 2, said.append)
    assert said == [f"transport: {WHY}", "transport: only 0 of 1 pairs are warm; going on"]
