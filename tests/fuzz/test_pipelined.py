"""A good request, a bad one and two good ones in one go: nothing inside the bad one is ever taken for a request."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tests.frontend.conftest import MODEL
from tests.fuzz import framing
from tests.fuzz.bodies import endpoints, mutated
from tests.fuzz.door import Door
from tests.fuzz.requests import GOOD, HEALTH, LAST, SMUGGLED, post
from tests.fuzz.share import SENT, share
from tests.fuzz.verdict import check_answer
from tests.fuzz.wire import Answer, talk

HIDDEN = json.dumps({"model": MODEL, "prompt": 1, "x": SMUGGLED.decode() * 3}).encode()
ODD = st.one_of(
    framing.lengths, framing.two_lengths, framing.both, framing.codings, framing.others, framing.twice, framing.chunks
)
PATHS = {"/v1/completions", "/health"}


@share("pipelined", 4)
@given(data=st.data())
def test_well_framed(door: Door, data: st.DataObject) -> None:
    """Whatever its body says, each request has its answer, in order."""
    path = data.draw(endpoints(door.posts), label="path")
    body = data.draw(mutated(path).filter(lambda body: len(body) <= 1 << 20) | st.just(HIDDEN) | st.just(SMUGGLED))
    door.admitted.clear()
    bad = post(path, body)
    answers = _talk(door, [GOOD, bad, GOOD, LAST], door.port)
    assert len(answers) == 4 and [answers[i].status for i in (0, 2, 3)] == [200, 200, 200], answers
    assert [route for _, route in door.admitted] == ["/v1/completions", path, "/v1/completions", "/health"]


@share("pipelined", 4)
@given(case=ODD)
def test_badly_framed(door: Door, case: bytes) -> None:
    """What came before is answered. Then the bad one is, and it is the last, unless its framing was right after all."""
    door.admitted.clear()
    answers = _talk(door, [GOOD, case, HEALTH, LAST], door.hasty_port)
    assert answers[0].status == 200, answers
    after = [answer.status for answer in answers[2:]]
    # A length that is right and too short leaves the rest of the body where a request should be.
    assert len(answers) >= 2 and after in ([], [200, 200], [400]), answers
    assert {route for _, route in door.admitted} <= PATHS, door.admitted
    assert len(door.admitted) <= len(answers), (door.admitted, answers)


def _talk(door: Door, requests: list[bytes], port: int) -> list[Answer]:
    SENT["pipelined"] += len(requests)
    sent = b"".join(requests)
    heard = talk(port, [sent], ["GET"] * 9, until_closed=True)
    for answer in heard.answers:
        check_answer(answer, sent)
    assert heard.closed and not heard.rest, heard
    door.check()
    return heard.answers
