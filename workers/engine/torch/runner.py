"""Runs the model over the chunks of one iteration, and samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from workers.engine.torch.attention import PagedKv
from workers.engine.torch.attention_plan import Span
from workers.engine.torch.grammar import masks_of
from workers.engine.torch.model import Decoder
from workers.engine.torch.prompt_scores import score
from workers.engine.torch.sampler import Sampled, sample
from workers.engine.torch.scheduler import Chunk
from workers.engine.torch.sequence import Running


class Runner:
    """A model and the KV pool that it reads and writes."""

    def __init__(self, model: Decoder, pool: torch.Tensor) -> None:
        self._model = model
        self._kv = PagedKv(pool)
        self._device = pool.device

    @torch.inference_mode()
    def run(self, chunks: Sequence[Chunk]) -> list[tuple[Running, Sampled]]:
        """Compute the KV of `chunks` (those of one token first); the next token of each request that reached its last."""
        tokens = np.array([token for c in chunks for token in c.sequence.tokens[c.start : c.end]], np.int64)
        positions = np.concatenate([np.arange(c.start, c.end) for c in chunks])
        plan = self._kv.plan([Span(c.sequence.block_table(), c.start, c.end) for c in chunks])
        hidden = self._model.forward(self._put(tokens), self._put(positions), plan, self._kv)
        if any(c.sequence.scores is not None for c in chunks):
            self._score(chunks, hidden)
        ended = [i for i, c in enumerate(chunks) if c.end == len(c.sequence.tokens)]
        if not ended:
            return []
        if len(ended) < len(hidden):
            last_rows = np.cumsum([c.end - c.start for c in chunks]) - 1
            hidden = hidden.index_select(0, self._put(last_rows[ended]))
        sequences = [chunks[i].sequence for i in ended]
        parameters, indices = [s.request.sampling for s in sequences], [s.next_index for s in sequences]
        # Masks are computed here, while a GPU is still busy with the forward pass.
        masks = masks_of([s.matcher for s in sequences], self._model.config.vocab_size, self._device)
        return list(zip(sequences, sample(self._model.logits(hidden), parameters, indices, masks), strict=True))

    def _score(self, chunks: Sequence[Chunk], hidden: torch.Tensor) -> None:
        """Add to the prompt's log-probabilities what these chunks tell."""
        first = 0
        for chunk in chunks:
            sequence = chunk.sequence
            if sequence.scores is not None and (at := sequence.scores.missing(chunk.start, chunk.end)):
                rows = hidden[first + at.start - chunk.start : first + at.stop - chunk.start]
                following = sequence.tokens[at.start + 1 : at.stop + 1]
                sequence.scores.entries += score(self._model, rows, following, sequence.scores.top)
            first += chunk.end - chunk.start

    def _put(self, values: npt.NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(values).to(self._device)
