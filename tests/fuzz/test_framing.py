"""Framing, request lines and headers: every one is answered with a client's error, or taken for what it says, or hung up on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import framing, heads
from tests.fuzz.door import HASTY, Door
from tests.fuzz.framing import Case
from tests.fuzz.share import ANSWERS, SENT, share
from tests.fuzz.verdict import check_answer
from tests.fuzz.wire import talk

# What is never finished is refused after this, and what is kept open and idle is closed.
LIMIT_S = HASTY.header_timeout_s + HASTY.body_timeout_s + HASTY.keep_alive_s + HASTY.linger_s + 5.0


@share("framing")
@given(case=framing.cases)
def test_framing(door: Door, case: Case) -> None:
    _ask(door, case, door.hasty_port, "framing")


@share("heads")
@given(case=heads.cases, keyed=st.booleans())
def test_heads(door: Door, case: Case, keyed: bool) -> None:
    _ask(door, case, door.keyed_port if keyed else door.hasty_port, "heads")


def _ask(door: Door, case: Case, port: int, category: str) -> None:
    SENT[category] += 1
    method = "HEAD" if case.data.startswith(b"HEAD ") else "POST"
    heard = talk(port, [case.data], [method], shut=case.shut, limit_s=LIMIT_S)
    for answer in heard.answers:
        check_answer(answer, case.data, method)
    if not heard.answers:
        ANSWERS["closed"] += 1
        assert case.silent and heard.closed and not heard.rest, heard
    door.check()
