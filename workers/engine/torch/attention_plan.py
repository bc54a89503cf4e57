"""What one iteration reads and writes of the pool, computed once and used by every layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens [start, end) of one request to compute now; `blocks` hold its KV from token 0."""

    blocks: Ints
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class DecodeGroup:
    """`size` rows with one query each and contexts of similar length, padded to `context` tokens.

    `rows` (size,) are positions in the packed batch, or None when they are all of its first `size` rows. `tables`
    (2 * layers, size * blocks) are rows of the pool seen as (block * layer * 2, token * head): K of layer l at 2 * l, V after it.
    `mask` is (size, 1, 1, context), 0 or -inf.
    """

    size: int
    rows: torch.Tensor | None
    tables: torch.Tensor
    mask: torch.Tensor


@dataclass(frozen=True, slots=True)
class PrefillSpan:
    """Rows [first, last) of the packed batch are one request's next tokens.

    Without earlier context, `tables` and `mask` are None and attention is causal over the rows themselves.
    Else `mask` is (rows, context), `tables` as in DecodeGroup.
    """

    first: int
    last: int
    tables: torch.Tensor | None
    mask: torch.Tensor | None
    context: int


@dataclass(frozen=True, slots=True)
class AttentionPlan:
    """Where a step's rows are written, and what they attend to. `slots` (2 * layers, n) are rows of the pool seen token by token."""

    slots: torch.Tensor
    decode: tuple[DecodeGroup, ...]
    prefill: tuple[PrefillSpan, ...]


class Planner:
    """Plans for a pool of given `layers` and `block_tokens`; `like` tells device and dtype."""

    def __init__(self, layers: int, block_tokens: int, like: torch.Tensor) -> None:
        self._layers = layers
        self._block_tokens = block_tokens
        self._device = like.device
        self._dtype = like.dtype
        self._planes = torch.arange(2 * layers, device=like.device)[:, None]

    def plan(self, spans: Sequence[Span]) -> AttentionPlan:
        """Plan a step of packed `spans`: those of one token first, then the longer ones."""
        singles = next((i for i, span in enumerate(spans) if span.end - span.start > 1), len(spans))
        slots = torch.from_numpy(self._slots(spans, singles)).to(self._device) + self._planes * self._block_tokens
        return AttentionPlan(slots, self._decode_groups(spans[:singles]), self._prefill_spans(spans[singles:], singles))

    def _slots(self, spans: Sequence[Span], singles: int) -> Ints:
        """Token rows of K in layer 0."""
        size = self._block_tokens
        stride = 2 * self._layers * size
        at = np.array([span.start for span in spans[:singles]], np.int64)
        blocks = np.array([span.blocks[span.start // size] for span in spans[:singles]], np.int64)
        parts = [blocks * stride + at % size]
        for span in spans[singles:]:
            at = np.arange(span.start, span.end)
            parts.append(span.blocks[at // size] * stride + at % size)
        return np.concatenate(parts)

    def _decode_groups(self, spans: Sequence[Span]) -> tuple[DecodeGroup, ...]:
        """One group, or one per power of two of blocks where a single padding would read twice what is needed."""
        if not spans:
            return ()
        ends = np.array([span.end for span in spans], np.int64)
        blocks = -(-ends // self._block_tokens)
        if blocks.max() * len(blocks) <= 2 * blocks.sum():
            return (self._decode_group(spans, None, ends, blocks),)
        bucket = np.frexp(blocks - 0.5)[1]
        groups = []
        for value in np.unique(bucket):
            rows = np.flatnonzero(bucket == value)
            groups.append(self._decode_group([spans[i] for i in rows.tolist()], rows, ends[rows], blocks[rows]))
        return tuple(groups)

    def _decode_group(self, spans: Sequence[Span], rows: Ints | None, ends: Ints, blocks: Ints) -> DecodeGroup:
        width = int(blocks.max())
        table = np.empty((len(spans), width), np.int64)
        for row, span, count in zip(table, spans, blocks.tolist(), strict=True):
            row[:count] = span.blocks[:count]
            row[count:] = row[0]  # padding reads a block of its own, never one that a transfer may be filling
        return DecodeGroup(
            size=len(spans),
            rows=None if rows is None else torch.from_numpy(rows).to(self._device),
            tables=self._tables(table),
            mask=self._mask(np.arange(width * self._block_tokens) >= ends[:, None])[:, None, None, :],
        )

    def _prefill_spans(self, spans: Sequence[Span], first: int) -> tuple[PrefillSpan, ...]:
        out = []
        for span in spans:
            last = first + span.end - span.start
            if span.start == 0:
                out.append(PrefillSpan(first, last, None, None, span.end))
            else:
                blocks = span.blocks[: -(-span.end // self._block_tokens)]
                mask = self._mask(np.arange(span.end) > np.arange(span.start, span.end)[:, None])
                out.append(PrefillSpan(first, last, self._tables(blocks), mask, span.end))
            first = last
        return tuple(out)

    def _tables(self, blocks: Ints) -> torch.Tensor:
        """Rows of the pool seen plane by plane: (2 * layers, blocks)."""
        return torch.from_numpy(blocks.reshape(-1) * (2 * self._layers)).to(self._device) + self._planes

    def _mask(self, hidden: npt.NDArray[np.bool_]) -> torch.Tensor:
        """An additive mask: the fused kernels would convert a boolean one in every layer."""
        mask = torch.zeros(hidden.shape, dtype=self._dtype, device=self._device)
        return mask.masked_fill_(torch.from_numpy(hidden).to(self._device), -torch.inf)
