"""What each token id stands for, as bytes."""

from __future__ import annotations

import json
import re
from typing import Any

from tokenizers import Tokenizer

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def _byte_level_alphabet() -> dict[str, int]:
    """Byte-level BPE writes every byte as one printable character; this is the way back."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {chr(b): b for b in plain}
    others = [b for b in range(256) if b not in set(plain)]
    alphabet.update({chr(256 + i): b for i, b in enumerate(others)})
    return alphabet


def _is_byte_level(decoder: dict[str, Any] | None) -> bool:
    if decoder is None:
        return False
    if decoder["type"] == "Sequence":
        return bool(decoder["decoders"]) and all(_is_byte_level(d) for d in decoder["decoders"])
    return bool(decoder["type"] == "ByteLevel")


class Vocabulary:
    """Bytes and specialness per token id. Ids past the tokenizer's (padding of the output layer) stand for nothing."""

    def __init__(self, tokenizer: Tokenizer, size: int) -> None:
        self.byte_level = _is_byte_level(json.loads(tokenizer.to_str()).get("decoder"))
        self.special = frozenset(i for i, t in tokenizer.get_added_tokens_decoder().items() if t.special)
        self.token_bytes: list[bytes] = [b""] * size
        alphabet = _byte_level_alphabet()
        for text, token in tokenizer.get_vocab(with_added_tokens=True).items():
            if token < size:
                self.token_bytes[token] = self._bytes(text, alphabet)
        # What a client is shown: special tokens have bytes, but are no part of the text.
        self.text_bytes = [b"" if i in self.special else b for i, b in enumerate(self.token_bytes)]
        # JSON strings of tokens that are whole characters, filled as they come; empty for the others.
        self.whole: dict[int, bytes] = {}

    def _bytes(self, text: str, alphabet: dict[str, int]) -> bytes:
        if self.byte_level:
            mapped = [alphabet.get(c) for c in text]
            return text.encode() if None in mapped else bytes(b for b in mapped if b is not None)
        if match := _BYTE_TOKEN.fullmatch(text):
            return bytes([int(match[1], 16)])
        return text.replace("\u2581", " ").encode()
