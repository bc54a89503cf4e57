"""Clients that take their time: within the bounds they are served, beyond them they get 408 or are hung up on, in time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.door import HASTY, Door
from tests.fuzz.requests import GOOD
from tests.fuzz.share import ANSWERS, SENT, share
from tests.fuzz.verdict import check_answer
from tests.fuzz.wire import Heard, talk

TOGETHER = 8
SLACK_S = 3.0
HEAD_BYTES = GOOD.index(b"\r\n\r\n") + 4


@dataclass(frozen=True, slots=True)
class Writer:
    """Sends `at` bytes of a good request at once, then `size` bytes every `pause_s`, and nothing after `most` pieces."""

    at: int
    size: int
    pause_s: float
    most: int

    def pieces(self) -> list[bytes]:
        rest = [GOOD[i : i + self.size] for i in range(self.at, len(GOOD), self.size)]
        return [GOOD[: self.at], *rest[: self.most]]

    @property
    def whole(self) -> bool:
        return b"".join(self.pieces()) == GOOD


writers = st.builds(
    Writer,
    st.one_of(st.integers(0, len(GOOD) - 1), st.sampled_from([0, 1, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 1])),
    st.sampled_from([1, 1, 2, 7, 50]),
    st.sampled_from([0.0, 0.001, 0.01, 0.05, 0.3]),
    st.sampled_from([0, 1, 5, 1000]),
)


@share("slow", TOGETHER)
@given(group=st.lists(writers, min_size=TOGETHER, max_size=TOGETHER))
def test_slow_writers(door: Door, group: list[Writer]) -> None:
    with ThreadPoolExecutor(TOGETHER) as pool:
        for writer, heard in zip(group, pool.map(lambda writer: _send(door, writer), group), strict=True):
            SENT["slow"] += 1
            _check(writer, heard)
    door.check()


def _send(door: Door, writer: Writer) -> Heard:
    return talk(door.hasty_port, writer.pieces(), pause_s=writer.pause_s, limit_s=30.0)


def _check(writer: Writer, heard: Heard) -> None:
    bound_s = HASTY.header_timeout_s + HASTY.body_timeout_s + HASTY.keep_alive_s + HASTY.linger_s + SLACK_S
    assert heard.elapsed_s < bound_s, (writer, heard)
    if not heard.answers:
        ANSWERS["closed"] += 1
        assert heard.closed and not heard.rest and not b"".join(writer.pieces()), (writer, heard)
        return
    (answer,) = heard.answers
    check_answer(answer, GOOD)
    assert answer.status in ((200, 408) if writer.whole else (408,)), (writer, answer)
