"""Bodies of all kinds, in requests that are well formed otherwise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.bodies import endpoints, mutated, spoilt
from tests.fuzz.door import Door
from tests.fuzz.requests import GOOD, post
from tests.fuzz.share import SENT, share
from tests.fuzz.verdict import check_answer
from tests.fuzz.wire import talk


def test_a_good_request(door: Door) -> None:
    (answer,) = talk(door.port, [GOOD]).answers
    assert answer.status == 200, answer
    door.check()


@share("json")
@given(data=st.data())
def test_json(door: Door, data: st.DataObject) -> None:
    path = data.draw(endpoints(door.posts), label="path")
    body = data.draw(mutated(path))
    _ask(door, post(path, body), "json")


@share("bytes")
@given(data=st.data())
def test_bytes(door: Door, data: st.DataObject) -> None:
    path = data.draw(endpoints(door.posts), label="path")
    body, kind, coding = data.draw(spoilt(path))
    lines = () if coding is None else (f"Content-Encoding: {coding}".encode(),)
    _ask(door, post(path, body, *lines, kind=kind), "bytes")


def _ask(door: Door, request: bytes, category: str) -> None:
    SENT[category] += 1
    heard = talk(door.port, [request])
    (answer,) = heard.answers
    check_answer(answer, request)
    door.check()
