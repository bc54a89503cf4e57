"""Messages survive however the stream is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.frames import Deframer, FrameError, frame, frames


@given(messages=st.lists(st.binary(max_size=300), max_size=20), cuts=st.lists(st.integers(1, 400), min_size=1))
def test_any_cut_gives_the_same_messages(messages, cuts):
    stream = frames(messages)
    assert stream == b"".join(frame(message) for message in messages)
    deframer, got, i = Deframer(), [], 0
    while stream:
        size = cuts[i % len(cuts)]
        i += 1
        got += deframer.feed(stream[:size])
        stream = stream[size:]
    assert got == messages


def test_a_length_beyond_the_limit_is_refused_before_anything_is_kept():
    with pytest.raises(FrameError, match="the limit is 10"):
        Deframer(limit_bytes=10).feed(frame(bytes(11))[:5])
