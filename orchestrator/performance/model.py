"""The shape of a decoder-only model, as latency and memory see it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A dense decoder with grouped-query attention. `gated` FFNs have three matrices, others two.

    `max_tokens` is the longest context that it was made for.
    """

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    max_tokens: int
    gated: bool = True
    tied_embeddings: bool = False
    source: str = ""

    @property
    def parameters(self) -> int:
        """Number of weights, norms left out."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        ffn = self.hidden * self.intermediate * (3 if self.gated else 2)
        embeddings = self.hidden * self.vocabulary * (1 if self.tied_embeddings else 2)
        return self.layers * (attention + ffn) + embeddings

    def kv_bytes_per_token(self, element_bytes: float) -> float:
        """KV bytes of one token over all layers."""
        return 2 * self.layers * self.kv_heads * self.head_dim * element_bytes
