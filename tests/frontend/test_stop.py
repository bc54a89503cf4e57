"""Stop strings: exact cuts, the same for every way of cutting the text into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.sampling import Finish
from orchestrator.frontend.service import Delta, Logprob
from orchestrator.frontend.text import Assembler, StopStrings, TextModel


def run(stops: list[str], pieces: list[str]) -> tuple[str, bool]:
    matcher = StopStrings(stops)
    shown = "".join([matcher.push(p) for p in pieces])
    return shown + matcher.finish(), matcher.stopped


def reference(stops: list[str], text: str) -> tuple[str, bool]:
    """Character by character: the first moment at which the text ends with a stop string, the longest of them."""
    for end in range(1, len(text) + 1):
        matching = [s for s in stops if text[:end].endswith(s)]
        if matching:
            return text[: end - max(map(len, matching))], True
    return text, False


@pytest.mark.parametrize(
    ("stops", "pieces", "expected"),
    [
        (["END"], ["the E", "ND rest"], ("the ", True)),
        (["END"], ["the E", "NE", "ND", "END"], ("the EN", True)),
        (["aab"], ["a", "a", "a", "b"], ("a", True)),
        (["abc", "b"], ["abc"], ("a", True)),
        (["ab", "b"], ["x", "a", "b"], ("x", True)),
        (["\n\n"], ["one\n", "two\n", "\nthree"], ("one\ntwo", True)),
        (["你好"], ["你", "好"], ("", True)),
        (["xyz"], ["x", "y"], ("xy", False)),
        ([], ["a", "b"], ("ab", False)),
    ],
)
def test_cases(stops: list[str], pieces: list[str], expected: tuple[str, bool]) -> None:
    assert run(stops, pieces) == expected


@settings(max_examples=400, deadline=None)
@given(
    stops=st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=4),
    pieces=st.lists(st.text("abc", max_size=4), max_size=12),
)
def test_the_cut_does_not_depend_on_the_pieces(stops: list[str], pieces: list[str]) -> None:
    assert run(stops, pieces) == reference(stops, "".join(pieces))


@settings(max_examples=200, deadline=None)
@given(stops=st.lists(st.text("abc", min_size=1, max_size=4), min_size=1), pieces=st.lists(st.text("abcd", max_size=3)))
def test_only_a_possible_prefix_is_held_back(stops: list[str], pieces: list[str]) -> None:
    matcher, given_text, shown = StopStrings(stops), "", ""
    for piece in pieces:
        given_text += piece
        shown += matcher.push(piece)
        if matcher.stopped:
            return
        held = given_text[len(shown) :]
        assert given_text.startswith(shown)
        assert not held or any(s.startswith(held) for s in stops)


def test_log_probabilities_follow_the_text(text: TextModel) -> None:
    tokens = tuple(text.encode("one two three"))
    assembler = Assembler(text, [" three"], text.eos_token_ids, True)
    pieces = [assembler.push(Delta(i, (t,), (Logprob(-1.0),))) for i, t in enumerate(tokens)]
    shown = [t for p in pieces for t in p.text_tokens]
    assert assembler.stopped and "".join(p.text for p in pieces) == "one two"
    assert b"".join(text.token_bytes(t.token) for t in shown) == b"one two"
    assert pieces[-1].finish is Finish.STOP


def test_tokens_after_the_stop_string_are_not_counted(text: TextModel) -> None:
    tokens = tuple(text.encode("a STOP and much more text"))
    assembler = Assembler(text, ["STOP"], text.eos_token_ids, False)
    piece = assembler.push(Delta(0, tokens))
    assert (piece.text, piece.finish) == ("a ", Finish.STOP)
    assert text.decode(piece.tokens).startswith("a STOP") and assembler.completion_tokens == len(piece.tokens) < len(
        tokens
    )


def test_end_tokens_are_counted_and_not_shown(text: TextModel) -> None:
    word = text.encode("x")[0]
    assembler = Assembler(text, [], {word}, False)
    piece = assembler.push(Delta(0, (word, word), (), Finish.STOP))
    assert (piece.text, assembler.completion_tokens) == ("x", 2)
    plain = Assembler(text, [], {word}, False).push(Delta(0, (word, word), (), Finish.LENGTH))
    assert plain.text == "xx"
