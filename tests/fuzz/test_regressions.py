"""What generated requests once broke, one test for each."""

from __future__ import annotations

import gzip
import json

import grpc
import pytest
from google.protobuf.message import Message

from pd.v1 import admin_pb2, admin_pb2_grpc, routing_pb2
from tests.fuzz.door import Door
from tests.fuzz.requests import GOOD_BODY, post
from tests.fuzz.wire import talk

LONG = "é" * 1_000_000


@pytest.mark.parametrize(
    "method",
    ["/pd.v1.Router/Generate", "/pd.v1.Router/Route", "/pd.v1.Admin/WatchWorkers", "/grpc.health.v1.Health/Watch"],
)
def test_no_message_at_all(door: Door, method: str) -> None:
    """A message that cannot be decoded is refused, and does not fill the log with traces."""
    with grpc.insecure_channel(f"127.0.0.1:{door.grpc_port}") as channel:
        with pytest.raises(grpc.RpcError) as caught:
            list(channel.unary_stream(method, None, None)(b"\x0a\x02\xff\xfe", timeout=10))
    assert (
        caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT and "no message of its type" in caught.value.details()
    )
    door.check()


@pytest.mark.parametrize("header", ["x-slo-ttft-ms", "x-llm-d-inference-objective"])
def test_a_long_header_is_not_quoted(door: Door, header: str) -> None:
    (answer,) = talk(door.port, [post("/v1/completions", GOOD_BODY, f"{header}: {'x' * 20000}".encode())]).answers
    assert answer.status == 400 and len(json.loads(answer.body)["error"]["message"]) < 300


def test_events_after_more_than_a_store_counts(door: Door) -> None:
    """Nothing comes after the last number of the API, which is larger than a store's."""
    with grpc.insecure_channel(f"127.0.0.1:{door.grpc_port}") as channel:
        events = admin_pb2_grpc.AdminStub(channel).ListEvents(
            admin_pb2.ListEventsRequest(after=(1 << 64) - 1), timeout=10
        )
    assert not events.items
    door.check()


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("Admin/DescribeWorker", admin_pb2.NameRequest(name=LONG)),
        ("Admin/DescribeRequest", admin_pb2.NameRequest(name=LONG)),
        ("Admin/SetRole", admin_pb2.SetRoleRequest(role=LONG)),
        ("Admin/SetPolicy", admin_pb2.SetPolicyRequest(decision=LONG)),
        ("Admin/SetPolicy", admin_pb2.SetPolicyRequest(decision="routing", name=LONG)),
        ("Admin/ListRequests", admin_pb2.ListRequestsRequest(state=LONG)),
        ("Admin/Logs", admin_pb2.LogsRequest(name=LONG)),
        ("Router/Generate", routing_pb2.GenerateRequest(prompt="a", model=LONG)),
        ("Router/Generate", routing_pb2.GenerateRequest(prompt="a", slo=routing_pb2.ServiceLevel(tier=LONG))),
        ("Router/Route", routing_pb2.RouteRequest(prompt_tokens=3, request_id=LONG)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_long_name_is_not_quoted(door: Door, method: str, request_: Message) -> None:
    """A status with a whole name of a million characters would be more than a client takes."""
    with grpc.insecure_channel(f"127.0.0.1:{door.grpc_port}") as channel:
        with pytest.raises(grpc.RpcError) as caught:
            list(channel.unary_stream(f"/pd.v1.{method}", None, None)(request_.SerializeToString(), timeout=10))
    assert caught.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
    assert len(caught.value.details()) < 400
    door.check()


def test_a_long_model_or_path_is_not_quoted(door: Door) -> None:
    """Nor are the escapes that control characters become."""
    newlines, halves = (json.dumps({"model": text * 10_000, "prompt": "hi"}).encode() for text in ("\n", "\ud800"))
    path = b"PUT /v1/models/" + b"x" * 7000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    for request, status in ((post("/v1/completions", newlines), 404), (post("/detokenize", halves), 404), (path, 405)):
        (answer,) = talk(door.port, [request]).answers
        assert answer.status == status and len(json.loads(answer.body)["error"]["message"]) < 300, answer


def test_a_compressed_body(door: Door) -> None:
    """It is refused for that, not for being no UTF-8."""
    (answer,) = talk(door.port, [post("/v1/completions", gzip.compress(GOOD_BODY), b"Content-Encoding: gzip")]).answers
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (415, "content_encoding")


@pytest.mark.parametrize("field", ["max_tokens", "temperature", "prompt"])
def test_a_long_number_is_not_quoted(door: Door, field: str) -> None:
    number = [10**400] if field == "prompt" else 10**400
    body = json.dumps({"model": "tiny", "prompt": "hi"} | {field: number}).encode()
    (answer,) = talk(door.port, [post("/v1/completions", body)]).answers
    assert answer.status == 400 and len(json.loads(answer.body)["error"]["message"]) < 200, answer
