"""Paged attention over one pool `[block, layer, 2, token, kv_head, head_dim]`, with torch's fused kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens [start, end) of one request to compute now; `blocks` (int64) hold its KV from token 0."""

    blocks: npt.NDArray[np.int64]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class DecodeGroup:
    """Rows with one query each and contexts of similar length, padded to `context` tokens.

    `rows` (b,) are positions in the packed batch, or None when they are all of its first b rows. `tables` (2 * layers, b * blocks)
    are rows of the pool seen as (block * layer * 2, token * head): K of layer l at 2 * l, V after it. `mask` is (b, 1, 1, context).
    """

    size: int
    rows: torch.Tensor | None
    tables: torch.Tensor
    mask: torch.Tensor


@dataclass(frozen=True, slots=True)
class PrefillSpan:
    """Rows [first, last) of the packed batch are one request's next tokens.

    Without earlier context, `tables` and `mask` are None and attention is causal over the rows themselves.
    `mask` is (rows, context), `tables` is as in DecodeGroup.
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


class PagedKv:
    """The pool and the two operations on it. The pool is only ever seen through flat views, so a gather copies whole blocks."""

    def __init__(self, data: torch.Tensor) -> None:
        """`data` is the contiguous pool."""
        self.data = data
        _, self._layers, _, self.block_tokens, self._kv_heads, self._head_dim = data.shape
        self._token_rows = data.view(-1, self._kv_heads * self._head_dim)
        self._block_rows = data.view(-1, self.block_tokens * self._kv_heads * self._head_dim)
        self._planes = torch.arange(2 * self._layers, device=data.device)[:, None]

    def plan(self, spans: Sequence[Span]) -> AttentionPlan:
        """Plan a step of packed `spans`: those of one token first, then the longer ones."""
        singles = next((i for i, span in enumerate(spans) if span.end - span.start > 1), len(spans))
        device = self.data.device
        slots = torch.from_numpy(self._slots(spans)).to(device) + self._planes * self.block_tokens
        return AttentionPlan(slots, self._decode_groups(spans[:singles]), self._prefill_spans(spans[singles:], singles))

    def write(self, layer: int, plan: AttentionPlan, k: torch.Tensor, v: torch.Tensor) -> None:
        """Store K and V (n, kv_heads, head_dim) of all rows."""
        self._token_rows.index_copy_(0, plan.slots[2 * layer], k.flatten(1))
        self._token_rows.index_copy_(0, plan.slots[2 * layer + 1], v.flatten(1))

    def attend(
        self, layer: int, plan: AttentionPlan, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
    ) -> torch.Tensor:
        """Attention output (n, heads, head_dim) of queries of the same shape; `k` and `v` are what `write` stored."""
        if len(plan.decode) == 1 and not plan.prefill:
            return self._attend_decode(layer, plan.decode[0], q)
        out = torch.empty_like(q, memory_format=torch.contiguous_format)
        for group in plan.decode:
            if group.rows is None:
                out[: group.size] = self._attend_decode(layer, group, q[: group.size])
            else:
                out.index_copy_(0, group.rows, self._attend_decode(layer, group, q.index_select(0, group.rows)))
        for span in plan.prefill:
            rows = slice(span.first, span.last)
            out[rows] = self._attend_prefill(layer, span, q[rows], k[rows], v[rows])
        return out

    def _attend_decode(self, layer: int, group: DecodeGroup, q: torch.Tensor) -> torch.Tensor:
        """Query heads that share a KV head become its query rows, so grouped-query attention needs no copies of K and V."""
        size, heads, head_dim = q.shape
        k = self._gather(layer, 0, group.tables, size)
        v = self._gather(layer, 1, group.tables, size)
        q = q.reshape(size, self._kv_heads, heads // self._kv_heads, head_dim)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=group.mask).reshape(size, heads, head_dim)

    def _attend_prefill(
        self, layer: int, span: PrefillSpan, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
    ) -> torch.Tensor:
        if span.tables is None:
            keys, values = k.transpose(0, 1)[None], v.transpose(0, 1)[None]
        else:
            keys = self._gather(layer, 0, span.tables, 1)[:, :, : span.context]
            values = self._gather(layer, 1, span.tables, 1)[:, :, : span.context]
        grouped = q.shape[1] != self._kv_heads
        if grouped and span.mask is not None and q.is_cuda:
            # CUDA has no fused kernel for a mask and grouped heads at once, and the plain one would hold every score.
            keys = keys.repeat_interleave(q.shape[1] // self._kv_heads, 1)
            values = values.repeat_interleave(q.shape[1] // self._kv_heads, 1)
            grouped = False
        out = F.scaled_dot_product_attention(
            q.transpose(0, 1)[None],
            keys,
            values,
            attn_mask=span.mask,
            is_causal=span.mask is None,
            enable_gqa=grouped,
        )
        return out[0].transpose(0, 1)

    def _gather(self, layer: int, plane: int, tables: torch.Tensor, size: int) -> torch.Tensor:
        """Keys (plane 0) or values (1) of `size` block tables: (size, kv_heads, context, head_dim)."""
        rows = self._block_rows.index_select(0, tables[2 * layer + plane])
        return rows.view(size, -1, self._kv_heads, self._head_dim).transpose(1, 2)

    def _slots(self, spans: Sequence[Span]) -> npt.NDArray[np.int64]:
        """Token rows of K in layer 0."""
        size = self.block_tokens
        stride = 2 * self._layers * size
        singles = [span for span in spans if span.end - span.start == 1]
        parts = []
        if singles:
            at = np.array([span.start for span in singles], np.int64)
            blocks = np.array([span.blocks[span.start // size] for span in singles], np.int64)
            parts.append(blocks * stride + at % size)
        for span in spans[len(singles) :]:
            at = np.arange(span.start, span.end)
            parts.append(span.blocks[at // size] * stride + at % size)
        return np.concatenate(parts)

    def _decode_groups(self, spans: Sequence[Span]) -> tuple[DecodeGroup, ...]:
        """One group, or one per power of two of blocks where a single padding would read twice what is needed."""
        if not spans:
            return ()
        ends = np.array([span.end for span in spans], np.int64)
        blocks = -(-ends // self.block_tokens)
        if blocks.max() * len(blocks) <= 2 * blocks.sum():
            return (self._decode_group(spans, None, ends, blocks),)
        bucket = np.frexp(blocks.astype(np.float64) - 0.5)[1]
        groups = []
        for value in np.unique(bucket):
            rows = np.flatnonzero(bucket == value)
            groups.append(self._decode_group([spans[i] for i in rows.tolist()], rows, ends[rows], blocks[rows]))
        return tuple(groups)

    def _decode_group(
        self,
        spans: Sequence[Span],
        rows: npt.NDArray[np.int64] | None,
        ends: npt.NDArray[np.int64],
        blocks: npt.NDArray[np.int64],
    ) -> DecodeGroup:
        width = int(blocks.max())
        table = np.empty((len(spans), width), np.int64)
        for row, span, count in zip(table, spans, blocks.tolist(), strict=True):
            row[:count] = span.blocks[:count]
            row[count:] = row[0]  # padding reads a block of its own, never one that a transfer may be filling
        mask = np.where(np.arange(width * self.block_tokens) < ends[:, None], np.float32(0), np.float32(-np.inf))
        device = self.data.device
        return DecodeGroup(
            size=len(spans),
            rows=None if rows is None else torch.from_numpy(rows).to(device),
            tables=self._tables(table),
            mask=torch.from_numpy(mask[:, None, None, :]).to(device=device, dtype=self.data.dtype),
        )

    def _prefill_spans(self, spans: Sequence[Span], first: int) -> tuple[PrefillSpan, ...]:
        out = []
        for span in spans:
            last = first + span.end - span.start
            if span.start == 0:
                out.append(PrefillSpan(first, last, None, None, span.end))
            else:
                count = -(-span.end // self.block_tokens)
                future = np.arange(span.end) > np.arange(span.start, span.end)[:, None]
                mask = torch.from_numpy(np.where(future, np.float32(-np.inf), np.float32(0)))
                mask = mask.to(device=self.data.device, dtype=self.data.dtype)
                out.append(PrefillSpan(first, last, self._tables(span.blocks[:count]), mask, span.end))
            first = last
        return tuple(out)

    def _tables(self, blocks: npt.NDArray[np.int64]) -> torch.Tensor:
        """Rows of the pool seen plane by plane: (2 * layers, blocks)."""
        flat = torch.from_numpy(blocks.reshape(-1) * (2 * self._layers)).to(self.data.device)
        return flat + self._planes
