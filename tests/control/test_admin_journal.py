"""Logs, events and requests of several front doors, over a real store and gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from orchestrator.frontend.admin import AdminServicer, FrontDoorInfo
from orchestrator.frontend.records import RequestRecord
from orchestrator.state.events import Event, record
from pd.v1 import admin_pb2 as pb
from pd.v1 import admin_pb2_grpc
from tests.control.admin_doubles import DispatcherDouble, Served, refused


@pytest.fixture
async def logs(served: Served, tmp_path: Path) -> AsyncIterator[tuple[Served, Path]]:
    served.info.run_dir = str(tmp_path)
    (tmp_path / "logs").mkdir()
    yield served, tmp_path / "logs"


async def text(call: grpc.aio.UnaryStreamCall[pb.LogsRequest, pb.LogChunk]) -> str:
    return b"".join([chunk.data async for chunk in call]).decode()


async def test_logs_end_with_the_lines_asked_for(logs: tuple[Served, Path]) -> None:
    served, directory = logs
    (directory / "prefill-0.log").write_text("".join(f"line {i}\n" for i in range(20_000)))
    assert await text(served.admin.Logs(pb.LogsRequest(name="prefill-0", tail=2))) == "line 19998\nline 19999\n"
    assert len((await text(served.admin.Logs(pb.LogsRequest(name="prefill-0")))).splitlines()) == 100
    assert len((await text(served.admin.Logs(pb.LogsRequest(name="prefill-0", tail=15_000)))).splitlines()) == 15_000


async def test_unknown_logs_are_answered_with_what_there_is(logs: tuple[Served, Path]) -> None:
    served, directory = logs
    (directory / "controller.log").touch()
    for name, words in (("nope", "controller"), ("../state", "controller"), ("decode-0", "runs on here")):
        code, message = await refused(text(served.admin.Logs(pb.LogsRequest(name=name))))
        assert (code, words in message) == (grpc.StatusCode.NOT_FOUND, True), message


async def test_logs_are_followed_until_the_caller_hangs_up(
    logs: tuple[Served, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    served, directory = logs
    monkeypatch.setattr("orchestrator.frontend.admin.journal.FOLLOWERS", 1)
    path = directory / "controller.log"
    path.write_text("one\n")
    call = served.admin.Logs(pb.LogsRequest(name="controller", follow=True), timeout=20)
    assert (await call.read()).data == b"one\n"
    with path.open("a") as file:
        file.write("two\n")
    assert (await call.read()).data == b"two\n"
    code, _ = await refused(text(served.admin.Logs(pb.LogsRequest(name="controller", follow=True))))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    call.cancel()


async def test_events_are_watched(served: Served) -> None:
    record(served.store, "worker", "decode-0", Event.HOST_STARTED)
    record(served.store, "pool", "decode-0", Event.POOL_SCALED)
    watch = served.admin.WatchEvents(pb.ListEventsRequest(object="worker/decode-0"), timeout=20)
    assert [e.reason for e in (await watch.read()).items] == ["HostStarted"]
    record(served.store, "worker", "decode-1", Event.DRAINED)
    record(served.store, "worker", "decode-0", Event.DRAINED)
    assert [(e.object, e.reason) for e in (await watch.read()).items] == [("decode-0", "Drained")]
    watch.cancel()
    both = (await served.admin.ListEvents(pb.ListEventsRequest(object="decode-0"))).items
    assert [e.kind for e in both] == ["worker", "pool", "worker"]


@pytest.fixture
async def sibling(served: Served) -> AsyncIterator[DispatcherDouble]:
    """A second front door of the same cluster."""
    older = RequestRecord("r-0", "demo", "default", 10, 20, 0.0)
    older.begin("queue")
    dispatcher = DispatcherDouble({}, [older])
    server = grpc.aio.server()
    info = FrontDoorInfo("front-door-1", "127.0.0.1", 8000, 1.0, 8001)
    admin_pb2_grpc.add_AdminServicer_to_server(AdminServicer(served.store, dispatcher, info), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    served.store.put("frontdoor", "front-door-0", {"peer_address": "127.0.0.1:1"})
    served.store.put("frontdoor", "front-door-1", {"peer_address": f"127.0.0.1:{port}"})
    yield dispatcher
    await server.stop(None)


async def test_requests_of_all_front_doors(served: Served, sibling: DispatcherDouble) -> None:
    reply = await served.admin.ListRequests(pb.ListRequestsRequest())
    assert [(r.request_id, r.front_door) for r in sorted(reply.items, key=lambda r: r.request_id)] == [
        ("r-0", "front-door-1"),
        ("r-1", "front-door-0"),
    ]
    assert not reply.silent_front_doors
    assert len((await served.admin.ListRequests(pb.ListRequestsRequest(limit=1))).items) == 1
    local = await served.admin.ListRequests(pb.ListRequestsRequest(local=True))
    assert [r.request_id for r in local.items] == ["r-1"]
    assert (await served.admin.DescribeRequest(pb.NameRequest(name="r-0"))).request.front_door == "front-door-1"
    code, _ = await refused(served.admin.DescribeRequest(pb.NameRequest(name="r-0", local=True)))
    assert code is grpc.StatusCode.NOT_FOUND


async def test_front_door_that_does_not_answer_is_named(served: Served) -> None:
    served.store.put("frontdoor", "front-door-7", {"peer_address": "127.0.0.1:1"})
    reply = await served.admin.ListRequests(pb.ListRequestsRequest())
    assert ([r.request_id for r in reply.items], list(reply.silent_front_doors)) == (["r-1"], ["front-door-7"])
    code, message = await refused(served.admin.DescribeRequest(pb.NameRequest(name="r-0")))
    assert (code, "front-door-7" in message) == (grpc.StatusCode.NOT_FOUND, True)


async def test_ledgers_of_all_front_doors_are_checked(served: Served, sibling: DispatcherDouble) -> None:
    sibling.fault = "the ledger counts r-9"
    report = await served.admin.CheckIntegrity(pb.ClusterIntegrityRequest())
    assert (report.ok, report.ledger) == (False, "front-door-1: the ledger counts r-9")
