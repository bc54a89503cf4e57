"""Every call of Router and Admin with any message, metadata, deadline and end: a status that says whose fault it was."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from hypothesis import given
from hypothesis import strategies as st

from pd.v1 import admin_pb2, routing_pb2
from tests.fuzz.door import Door
from tests.fuzz.messages import encoded
from tests.fuzz.share import ANSWERS, SENT, share
from tests.fuzz.verdict import check_message

SERVICES = [routing_pb2.DESCRIPTOR.services_by_name["Router"], admin_pb2.DESCRIPTOR.services_by_name["Admin"]]
METHODS: list[MethodDescriptor] = [method for service in SERVICES for method in service.methods]
UNKNOWN = [
    "/pd.v1.Router/Nothing",
    "/pd.v1.Nothing/Route",
    "/",
    "/a",
    "//",
    "/pd.v1.Admin/",
    "/pd.v1.Router/Generate/x",
    "/pd.v1.Admin/drain",
]
METADATA = [
    (), (), (), (("authorization", "Bearer x"),), (("authorization", "\x7e" * 2000),), (("x-bin", b"\x00\xff" * 50),),
    (("traceparent", "00-zz-1-1"),),
    tuple((f"k{i}", "v" * 20) for i in range(60)), (("a", "b"), ("a", "c")), (("grpc-previous-rpc-attempts", "9"),),
    (("content-type-x", ""),),
]  # fmt: skip
Metadata = tuple[tuple[str, str | bytes], ...]
OURS = (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS)
MOST_READ = 3
DEADLINE_S = 10.0
WATCH_S = 0.15
_OPTIONS = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]


@pytest.fixture(scope="module")
def channel(door: Door) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{door.grpc_port}", _OPTIONS) as opened:
        yield opened


@share("grpc")
@given(data=st.data())
def test_calls(door: Door, channel: grpc.Channel, data: st.DataObject) -> None:
    method = data.draw(st.sampled_from(METHODS), label="method")
    message = data.draw(encoded(method.input_type))
    metadata = data.draw(st.sampled_from(METADATA))
    end = data.draw(st.sampled_from(["", "", "", "", "", "no time", "little time", "cancel"]))
    path = data.draw(st.sampled_from(UNKNOWN)) if data.draw(st.integers(0, 29)) == 29 else None
    call(channel, method, message, metadata, end, path)
    door.check()


@pytest.mark.parametrize("method", [METHODS[0], METHODS[1]], ids=lambda method: method.name)
def test_oversized(door: Door, channel: grpc.Channel, method: MethodDescriptor) -> None:
    message = b"\x0a\x80\x80\x80\x0a" + b"a" * (20 << 20)
    assert call(channel, method, message, limit_s=20.0) is grpc.StatusCode.RESOURCE_EXHAUSTED
    door.check()


def call(
    channel: grpc.Channel,
    method: MethodDescriptor,
    message: bytes,
    metadata: Metadata = (),
    end: str = "",
    path: str | None = None,
    *,
    limit_s: float = 0.0,
) -> grpc.StatusCode:
    """Call `method` (or `path`) with these bytes, read a few replies, and check the status. `end` says what ends the call early."""
    SENT["grpc"] += 1
    streaming = method.server_streaming
    usual_s = limit_s or (WATCH_S if streaming else DEADLINE_S)
    timeout_s = {"no time": 0.0, "little time": 0.003}.get(end, usual_s)
    make = channel.unary_stream if streaming else channel.unary_unary
    ask = make(path or f"/{method.containing_service.full_name}/{method.name}", None, None)
    code, told = grpc.StatusCode.OK, ""
    try:
        if streaming:
            replies = ask(message, timeout=timeout_s, metadata=metadata)
            if end != "cancel":
                list(itertools.islice(replies, MOST_READ))
            replies.cancel()
        elif end == "cancel":
            ask.future(message, timeout=timeout_s, metadata=metadata).cancel()
        else:
            ask(message, timeout=timeout_s, metadata=metadata)
    except grpc.RpcError as error:
        code, told = error.code(), error.details() or ""
    ANSWERS[code.name] += 1
    assert code not in OURS, (code, told[:2000])
    assert code is not grpc.StatusCode.DEADLINE_EXCEEDED or end or streaming, "no answer"
    check_message(told, message)
    return code
