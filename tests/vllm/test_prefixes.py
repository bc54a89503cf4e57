"""Which prefixes a server holds: what events tell and what is assumed, against models that keep whole prefixes."""

from __future__ import annotations

from collections.abc import Hashable

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.hashing import block_hashes, continued_hashes
from workers.engine.vllm.prefixes import AssumedPrefixes, Prefixes, ToldPrefixes

SIZE = 2
Blocks = tuple[tuple[int, ...], ...]


def our_hash(prefix: Blocks) -> int:
    return int(block_hashes([t for block in prefix for t in block], SIZE)[-1])


class Follower:
    """What somebody knows who applies the changes."""

    def __init__(self, prefixes: Prefixes) -> None:
        self.prefixes = prefixes
        self.known: set[int] = set()

    def check(self, expected: set[int]) -> None:
        added, gone = self.prefixes.changes()
        assert not set(added) & self.known, "told twice"
        assert set(gone) <= self.known, "never told of"
        assert len(set(added)) == len(added)
        self.known = (self.known | set(added)) - set(gone)
        assert self.known == expected == set(self.prefixes.stored())
        assert len(self.prefixes.stored()) == len(expected)
        assert self.prefixes.changes() == ([], [])


block = st.tuples(st.integers(1, 2), st.integers(1, 2))
prefix = st.lists(block, min_size=1, max_size=4).map(tuple)


def theirs(name: Blocks) -> Hashable:
    """The server's hash: bytes, as vLLM sends them."""
    return repr(name).encode()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(["store", "store", "remove", "clear", "look"]), prefix), max_size=40))
def test_told_prefixes_against_a_set(operations: list[tuple[str, Blocks]]) -> None:
    told = ToldPrefixes(SIZE)
    follower = Follower(told)
    held: set[Blocks] = set()
    for what, name in operations:
        match what:
            case "store":  # those blocks at the end of `name` that are not held, as one event
                new = [name[: i + 1] for i in range(len(name)) if name[: i + 1] not in held]
                start = len(name) - len(new)
                if [name[: i + 1] for i in range(start, len(name))] != new:
                    continue
                tokens = [t for b in name[start:] for t in b]
                told.block_stored([theirs(n) for n in new], theirs(name[:start]) if start else None, tokens, SIZE)
                held |= set(new)
            case "remove":
                told.block_removed([theirs(name)])
                held.discard(name)
            case "clear":
                told.all_cleared()
                held.clear()
            case _:
                follower.check({our_hash(n) for n in held})
    follower.check({our_hash(n) for n in held})


def test_blocks_that_cannot_be_named_are_left_out() -> None:
    told = ToldPrefixes(4)
    told.block_stored([b"a"], b"unknown", [1, 2, 3, 4], 4)
    told.block_stored([b"a"], None, [1, 2, 3, 4], 8)
    told.block_stored([b"a", b"b"], None, [1, 2, 3, 4, 5], 4)
    told.block_removed([b"never heard of"])
    assert (told.changes(), told.stored()) == (([], []), [])


def test_hashes_of_a_server_may_be_numbers() -> None:
    told = ToldPrefixes(4)
    told.block_stored([2**63], None, [1, 2, 3, 4], 4)
    told.block_stored([5], 2**63, [5, 6, 7, 8], 4)
    assert told.stored() == block_hashes(range(1, 9), 4).tolist()


def test_stored_again_is_told_once() -> None:
    told = ToldPrefixes(4)
    told.block_stored([1], None, [1, 2, 3, 4], 4)
    told.changes()
    told.block_stored([1, 2], None, [1, 2, 3, 4, 5, 6, 7, 8], 4)
    assert told.changes() == (block_hashes(range(1, 9), 4).tolist()[1:], [])


def test_what_comes_and_goes_between_two_looks_is_never_told() -> None:
    told = ToldPrefixes(4)
    told.block_stored([1], None, [1, 2, 3, 4], 4)
    told.block_removed([1])
    assert told.changes() == ([], [])
    told.block_stored([1], None, [1, 2, 3, 4], 4)
    told.changes()
    told.all_cleared()
    told.block_stored([1], None, [1, 2, 3, 4], 4)
    assert told.changes() == ([], [])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 6), st.lists(st.lists(st.integers(1, 2), max_size=9), max_size=12))
def test_assumed_prefixes_against_a_list(most: int, prompts: list[list[int]]) -> None:
    assumed = AssumedPrefixes(SIZE, most)
    follower = Follower(assumed)
    held: list[tuple[int, ...]] = []
    """Prefixes, the one that goes next at the end."""
    for prompt in prompts:
        assumed.computed(prompt)
        used = [tuple(prompt[: SIZE * (i + 1)]) for i in range(len(prompt) // SIZE)]
        held = (used + [p for p in held if p not in used])[:most]
        follower.check({int(block_hashes(p, SIZE)[-1]) for p in held})


def test_told_prefixes_hear_nothing_of_what_is_computed() -> None:
    told = ToldPrefixes(2)
    told.computed([1, 2, 3, 4])
    assert told.stored() == []


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 2**32 - 1), max_size=60), st.integers(1, 9), st.data())
def test_continued_hashes_are_those_of_the_whole(tokens: list[int], size: int, data: st.DataObject) -> None:
    whole = block_hashes(tokens, size).tolist()
    depth = data.draw(st.integers(0, len(whole)))
    value = whole[depth - 1] if depth else 0
    rest = continued_hashes(value, depth, tokens[depth * size :], size).tolist()
    assert whole[:depth] + rest == whole


def test_continued_hashes_depend_on_what_they_continue() -> None:
    first, second = block_hashes([1, 2], 2).tolist()[0], block_hashes([3, 4], 2).tolist()[0]
    rests = [continued_hashes(value, depth, [5, 6], 2).tolist() for value, depth in ((first, 1), (second, 1), (0, 0))]
    assert len({rest[0] for rest in rests}) == 3
    assert continued_hashes(first, 1, [5], 2).tolist() == []
