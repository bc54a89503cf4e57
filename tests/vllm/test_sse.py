"""Server-sent events, however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from workers.engine.vllm.sse import Events

STREAM = (
    b": a comment\n\n"
    b'data: {"a": 1}\n\n'
    b'data:{"b":"\xc3\xa9"}\r\n\r\n'
    b'event: error\nid: 7\ndata: {"c": 3}\n\n'
    b": ping\ndata: {\ndata: }\n\n"
    b"\n\ndata:\n\n"
    b"data: [DONE]\n\n"
)
FOUND = [b'{"a": 1}', b'{"b":"\xc3\xa9"}', b'{"c": 3}', b"{\n}"]


def fed(*chunks: bytes) -> list[bytes]:
    events = Events()
    return [event for chunk in chunks for event in events.feed(chunk)]


def test_whole_stream_at_once() -> None:
    assert fed(STREAM) == FOUND


def test_cut_at_every_position() -> None:
    for at in range(len(STREAM) + 1):
        assert fed(STREAM[:at], STREAM[at:]) == FOUND, at


def test_byte_by_byte() -> None:
    assert fed(*(STREAM[i : i + 1] for i in range(len(STREAM)))) == FOUND


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.data(), st.lists(st.binary(min_size=1).map(lambda b: b.hex().encode()), max_size=6), st.booleans())
def test_arbitrary_events_cut_anywhere(data: st.DataObject, events: list[bytes], crlf: bool) -> None:
    end = b"\r\n" if crlf else b"\n"
    stream = b"".join(b"data: " + event + end + end for event in events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    edges = [0, *cuts, len(stream)]
    assert fed(*(stream[a:b] for a, b in pairwise(edges))) == events


def test_event_without_its_end_is_kept_back() -> None:
    events = Events()
    assert list(events.feed(b'data: {"a": 1}\n')) == []
    assert list(events.feed(b"\n")) == [b'{"a": 1}']
