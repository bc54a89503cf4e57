"""What a worker has given its server to hold, against a list of what is there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.engine.base import EngineStats, Full, Invalid, Key
from workers.engine.vllm.ledger import Entry, Ledger, Stage

TOTAL, SIZE = 12, 4
KEYS = [Key(str(i), 0) for i in range(4)]


def ledger() -> Ledger:
    return Ledger(EngineStats(kv_total_blocks=TOTAL, block_tokens=SIZE))


def expected(entries: dict[Key, Entry], foreign: int) -> dict[str, int]:
    """Counted the long way."""

    def blocks(*stages: Stage) -> int:
        return sum(-(-e.tokens // SIZE) for e in entries.values() if e.stage in stages)

    def tokens(stage: Stage) -> int:
        return sum(e.tokens for e in entries.values() if e.stage is stage)

    return {
        "kv_used_blocks": blocks(*Stage) + foreign,
        "reserved_blocks": blocks(Stage.RESERVED),
        "leased_blocks": blocks(Stage.LEASED),
        "waiting": sum(e.stage in (Stage.PREFILL, Stage.PULL) for e in entries.values()),
        "running": sum(e.stage is Stage.DECODE for e in entries.values()),
        "waiting_prefill_tokens": tokens(Stage.PREFILL),
        "decode_context_tokens": tokens(Stage.DECODE),
    }


operation = st.one_of(
    st.tuples(st.just("reserve"), st.sampled_from(KEYS), st.integers(1, 60)),
    st.tuples(st.just("enter"), st.sampled_from(KEYS), st.sampled_from(list(Stage)), st.integers(1, 30)),
    st.tuples(st.just("grow"), st.sampled_from(KEYS), st.integers(1, 5)),
    st.tuples(st.just("leave"), st.sampled_from(KEYS)),
    st.tuples(st.just("measured"), st.integers(0, 30)),
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(operation, max_size=40))
def test_random_operations_against_a_recount(operations: list[tuple[Any, ...]]) -> None:
    one, entries, foreign = ledger(), dict[Key, Entry](), 0
    for name, *arguments in operations:
        match name:
            case "reserve":
                key, tokens = arguments
                wanted = -(-tokens // SIZE)
                if key in entries:
                    continue  # a worker ignores a key that is there
                used = one.stats.kv_used_blocks
                try:
                    one.reserve(key, tokens, 5.0)
                    entries[key] = Entry(Stage.RESERVED, tokens)
                    assert used + wanted <= TOTAL
                except Invalid:
                    assert wanted > TOTAL
                except Full:
                    assert used + wanted > TOTAL >= wanted
            case "enter":
                key, stage, tokens = arguments
                one.enter(key, stage, tokens)
                entries[key] = Entry(stage, tokens)
            case "grow":
                key, tokens = arguments
                if key in entries and entries[key].stage is Stage.DECODE:
                    one.grow(key, tokens)
                    entries[key].tokens += tokens
            case "leave":
                one.leave(arguments[0])
                entries.pop(arguments[0], None)
            case "measured":
                one.measured(arguments[0])
                held = sum(-(-e.tokens // SIZE) for e in entries.values() if e.stage is not Stage.RESERVED)
                foreign = max(0, arguments[0] - held)
        one.check()
        assert {k: getattr(one.stats, k) for k in expected({}, 0)} == expected(entries, foreign)
        assert len(one) == len(entries)
        assert {k: one.stage(k) for k in KEYS} == {k: entries[k].stage if k in entries else None for k in KEYS}


@pytest.mark.parametrize("name", list(expected({}, 0)))
def test_recount_names_what_was_lost(name: str) -> None:
    one = ledger()
    one.enter(KEYS[0], Stage.DECODE, 5)
    setattr(one.stats, name, getattr(one.stats, name) + 1)
    with pytest.raises(AssertionError, match=name):
        one.check()


def test_deadlines() -> None:
    one = ledger()
    one.reserve(KEYS[0], 4, 5.0)
    one.enter(KEYS[1], Stage.LEASED, 4, 6.0)
    one.enter(KEYS[2], Stage.DECODE, 4)
    assert [one.expired(at) for at in (4.9, 5.0, 6.0)] == [[], [KEYS[0]], [KEYS[0], KEYS[1]]]
    one.enter(KEYS[0], Stage.PULL, 4)
    assert one.expired(100.0) == [KEYS[1]], "what has been taken up has no deadline"


def test_blocks_of_somebody_else_are_not_given_away() -> None:
    one = ledger()
    one.measured(10)
    with pytest.raises(Full, match="3 blocks wanted, 2 free"):
        one.reserve(KEYS[0], 12, 5.0)
    one.measured(0)
    one.reserve(KEYS[0], 12, 5.0)
    one.measured(0)
    assert one.stats.kv_used_blocks == 3, "a server knows nothing of reservations"
    with pytest.raises(Invalid, match="49 tokens take 13 KV blocks and the server has 12"):
        one.reserve(KEYS[1], 49, 5.0)
