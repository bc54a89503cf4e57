"""What all simulated backends of one comparison have in common."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Self

import orjson


@dataclass(frozen=True, slots=True)
class Backends:
    """One prefill server that takes `prefill_s`, and `decoders` whose steps last `step_s` and start at different moments.

    Every stream gets the same sequence: piece i modulo the number of pieces as token i, so that a lost, doubled or misplaced token shows.
    """

    pieces: list[str]
    piece_ids: list[int]
    decoders: int = 8
    step_s: float = 0.02
    prefill_s: float = 0.005

    def phase_s(self, decoder: int) -> float:
        """When the steps of this decode server start, within a step: spread evenly, in no order of their numbers."""
        return self.step_s * (decoder * 3 % self.decoders) / self.decoders

    @classmethod
    def load(cls, text: str) -> Self:
        return cls(**orjson.loads(text))

    def dump(self) -> str:
        """As a command line argument."""
        return orjson.dumps(asdict(self)).decode()

    def expected(self, tokens: int) -> str:
        """The text of a stream of this length."""
        return "".join(self.pieces[i % len(self.pieces)] for i in range(tokens))
