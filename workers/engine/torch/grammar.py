"""Constrained decoding: which tokens a request's grammar allows next."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from orchestrator.core.grammar import Grammar, GrammarCompiler, GrammarError, grammar_of
from orchestrator.core.sampling import Sampling
from workers.engine.base import Invalid

if TYPE_CHECKING:
    from llguidance import LLMatcher

CACHED_GRAMMARS = 32
Words = npt.NDArray[np.int32]


class Matcher:
    """Where one request stands in its grammar. That follows from its emitted tokens alone, so preemption does not touch it."""

    def __init__(self, matcher: LLMatcher, barred: Words | None) -> None:
        """`barred` (mask words) are tokens that are allowed only when nothing else is: end tokens under `ignore_eos`."""
        self._matcher = matcher
        self._barred = barred

    @property
    def done(self) -> bool:
        """True if the output is complete and nothing can follow."""
        return self._matcher.is_stopped() and not self._matcher.is_error()

    @property
    def error(self) -> str:
        """Why the grammar cannot go on, or ""."""
        return self._matcher.get_error().partition("\n")[0]

    def accept(self, tokens: Sequence[int]) -> bool:
        """Go on by `tokens`; False if one is not allowed, or the library's limits are exceeded."""
        return self._matcher.consume_tokens(list(tokens))

    def fill(self, words: Words) -> None:
        """Write the mask of allowed tokens into a row; all ones after an error, which `accept` then reports."""
        self._matcher.unsafe_compute_mask_ptr(words.ctypes.data, words.nbytes)
        if self._matcher.is_error():
            words.fill(-1)
        elif self._barred is not None:
            kept = words & ~self._barred
            if kept.any():
                words[:] = kept


class Grammars:
    """Compiled grammars of one model, the last used ones kept. The tokenizer is read when the first grammar comes, or by `warm`."""

    def __init__(self, model_dir: Path, vocab_size: int, eos_token_ids: tuple[int, ...]) -> None:
        self._file = model_dir / "tokenizer.json"
        self._vocab_size = vocab_size
        self._eos = eos_token_ids
        self._lock = threading.Lock()
        self._loaded: GrammarCompiler | None = None
        self._compiled: OrderedDict[Grammar, LLMatcher] = OrderedDict()

    def warm(self) -> None:
        """Read the tokenizer; may run on a thread of its own. Raises GrammarError."""
        self._compiler()

    def matcher(self, sampling: Sampling, emitted: Sequence[int]) -> Matcher | None:
        """A matcher that has seen `emitted`, or None without a grammar; raises Invalid if they do not go together."""
        try:
            grammar = grammar_of(sampling)
            if grammar is None:
                return None
            compiler = self._compiler()
            compiled = self._compiled.get(grammar) or compiler.compile(grammar)
        except GrammarError as error:
            raise Invalid(str(error)) from error
        self._compiled[grammar] = compiled
        self._compiled.move_to_end(grammar)
        if len(self._compiled) > CACHED_GRAMMARS:
            self._compiled.popitem(last=False)
        matcher = Matcher(compiled.deep_copy(), self._end_words(compiler.mask_words) if sampling.ignore_eos else None)
        if not matcher.accept(emitted):
            raise Invalid(f"the {len(emitted)} tokens already emitted do not follow the {grammar.kind}")
        return matcher

    def _compiler(self) -> GrammarCompiler:
        with self._lock:
            if self._loaded is None:
                self._loaded = GrammarCompiler(self._file, self._vocab_size, self._eos)
            return self._loaded

    def _end_words(self, words: int) -> Words:
        bits = np.zeros(words * 32, np.uint8)
        bits[list(self._eos)] = 1
        return np.packbits(bits, bitorder="little").view(np.int32)


@dataclass(frozen=True, slots=True)
class Masks:
    """Tokens that some rows of a step must not take: `rows` (k,) and `barred` (k, vocab_size), boolean, on the device."""

    rows: torch.Tensor
    barred: torch.Tensor

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """A copy of `logits` (n, vocab_size) in which the other tokens of these rows have probability 0."""
        constrained = logits.index_select(0, self.rows).masked_fill_(self.barred, -torch.inf)
        return logits.index_copy(0, self.rows, constrained)


def masks_of(matchers: Sequence[Matcher | None], vocab_size: int, device: torch.device) -> Masks | None:
    """Masks for the rows that have a matcher; None if none has."""
    rows = [i for i, matcher in enumerate(matchers) if matcher is not None]
    if not rows:
        return None
    words = np.zeros((len(rows), -(-vocab_size // 32)), np.int32)
    for row, i in zip(words, rows, strict=True):
        matcher = matchers[i]
        assert matcher is not None
        matcher.fill(row)
    if device.type == "cpu":
        barred = torch.from_numpy(np.unpackbits(~words.view(np.uint8), axis=1, bitorder="little").view(np.bool_))
    else:  # an eighth of the bytes travels
        barred = spread(torch.from_numpy(~words.view(np.uint8)).to(device))
    return Masks(torch.tensor(rows, device=device), barred[:, :vocab_size])


def spread(packed: torch.Tensor) -> torch.Tensor:
    """Bits of bytes (k, n), lowest first, as booleans (k, 8 n)."""
    return (packed[:, :, None] >> torch.arange(8, dtype=torch.uint8, device=packed.device) & 1).flatten(1).bool()
