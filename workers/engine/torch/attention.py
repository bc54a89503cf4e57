"""Paged attention over one pool `[block, layer, 2, token, kv_head, head_dim]`, with torch's fused kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from workers.engine.torch.attention_plan import AttentionPlan, DecodeGroup, Planner, PrefillSpan, Span


class PagedKv:
    """The pool and the two operations on it. The pool is only ever seen through flat views, so a gather copies whole blocks."""

    def __init__(self, data: torch.Tensor) -> None:
        """`data` is the contiguous pool."""
        _, layers, _, block_tokens, self._kv_heads, self._head_dim = data.shape
        self._token_rows = data.view(-1, self._kv_heads * self._head_dim)
        self._block_rows = data.view(-1, block_tokens * self._kv_heads * self._head_dim)
        # Gathers of megabytes into fresh memory spend ten times as long on page faults as on copying.
        self._scratch = data.new_empty(2, 0)
        self._planner = Planner(layers, block_tokens, data)

    def plan(self, spans: Sequence[Span]) -> AttentionPlan:
        """Plan a step of packed `spans`: those of one token first, then the longer ones."""
        return self._planner.plan(spans)

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
        """Keys (plane 0) or values (1) of `size` block tables: (size, kv_heads, context, head_dim), valid until the next gather."""
        index = tables[2 * layer + plane]
        count, width = len(index), self._block_rows.shape[1]
        if self._scratch.shape[1] < count * width:
            self._scratch = self._block_rows.new_empty(2, 2 * count * width)
        rows = self._scratch[plane, : count * width].view(count, width)
        torch.index_select(self._block_rows, 0, index, out=rows)
        return rows.view(size, -1, self._kv_heads, self._head_dim).transpose(1, 2)
