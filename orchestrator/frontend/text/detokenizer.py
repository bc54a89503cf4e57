"""Tokens to text as they come: constant work per token, no half characters, nothing said twice."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Sequence
from typing import Protocol

import orjson
from tokenizers import Tokenizer

from orchestrator.frontend.text.vocabulary import Vocabulary

_REPLACEMENT = "\ufffd"
# A character has at most four bytes, so a longer run of replacement characters is text and not a half character.
_MAX_HELD_TOKENS = 8


class Detokenizer(Protocol):
    """The pieces that `push` and `finish` return, joined, are what decoding all tokens at once gives."""

    def push(self, tokens: Sequence[int]) -> str:
        """The text that became certain with these tokens."""

    def quick(self, token: int) -> bytes | None:
        """`push` of one token as a JSON string, if that is known without decoding; None, and nothing has happened, if not."""

    def finish(self) -> str:
        """What was held back; bytes that never became a character appear as U+FFFD."""


class ByteDetokenizer:
    """For byte-level BPE: token bytes, decoded as far as they are whole characters."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._text_bytes = vocabulary.text_bytes
        self._whole = vocabulary.whole
        self._rest = b""

    def quick(self, token: int) -> bytes | None:
        if self._rest:
            return None
        found = self._whole.get(token)
        return self._learn(token) if found is None else found or None

    def _learn(self, token: int) -> bytes | None:
        """Remember the JSON string of a token of whole characters; empty for every other."""
        try:
            text = self._text_bytes[token].decode()
        except UnicodeDecodeError:
            text = ""
        self._whole[token] = orjson.dumps(text) if text else b""
        return self._whole[token] or None

    def push(self, tokens: Sequence[int]) -> str:
        text_bytes = self._text_bytes
        data = text_bytes[tokens[0]] if len(tokens) == 1 else b"".join([text_bytes[t] for t in tokens])
        if self._rest:
            data = self._rest + data
        text, used = codecs.utf_8_decode(data, "replace", False)
        self._rest = data[used:]
        return text

    def finish(self) -> str:
        rest, self._rest = self._rest, b""
        return rest.decode("utf-8", "replace")


class WindowDetokenizer:
    """For any other tokenizer: decodes a short window twice, with and without the new tokens, and returns the difference.

    The tokens before the window's middle give context, because some decoders treat the first token of a text differently.
    """

    def __init__(self, tokenizer: Tokenizer, special: Collection[int]) -> None:
        self._tokenizer = tokenizer
        self._special = special
        self._context: list[int] = []
        self._held: list[int] = []

    def quick(self, token: int) -> bytes | None:
        return None

    def push(self, tokens: Sequence[int]) -> str:
        return "".join([self._push_one(token) for token in tokens])

    def _push_one(self, token: int) -> str:
        if token in self._special:
            return ""
        self._held.append(token)
        before = self._decode(self._context)
        text = self._decode(self._context + self._held)
        if text.endswith(_REPLACEMENT) and len(self._held) < _MAX_HELD_TOKENS:
            return ""
        piece = text[len(before) :]
        if piece:
            self._context, self._held = self._held, []
        elif len(self._held) >= _MAX_HELD_TOKENS:
            self._held = []  # they decode to nothing
        return piece

    def finish(self) -> str:
        before = self._decode(self._context)
        piece = self._decode(self._context + self._held)[len(before) :]
        self._context, self._held = self._held, []
        return piece

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))
