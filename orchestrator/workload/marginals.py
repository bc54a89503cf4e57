"""Length distributions per client and window, as ServeGen publishes them: token count to probability, one marginal per field."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.workload.opening import text_of
from orchestrator.workload.trace import TraceError

Ints = npt.NDArray[np.int64]
MEDIA = ("image", "audio", "video")
WINDOW_S = 21600


@dataclass(frozen=True, slots=True)
class Marginal:
    """A distribution over token counts: `values` ascending, `edges` its cumulative probability."""

    values: npt.NDArray[np.int64]
    edges: npt.NDArray[np.float64]

    @classmethod
    def of(cls, table: Mapping[str, float]) -> Marginal:
        """From `{"45": 0.01, …}`; probabilities are scaled to add up to 1. Raises ValueError."""
        values = np.array([int(key) for key in table], np.int64)
        weights = np.array(list(table.values()), np.float64)
        if not np.isfinite(weights).all() or (weights < 0).any() or weights.sum() <= 0 or (values < 0).any():
            raise ValueError("not a distribution over token counts")
        order = np.argsort(values)
        edges = np.cumsum(weights[order])
        return cls(values[order], edges / edges[-1])

    def draw(self, draw: np.random.Generator, count: int) -> Ints:
        """`count` independent values."""
        places = np.searchsorted(self.edges, draw.random(count), side="right")
        return self.values[np.minimum(places, len(self.values) - 1)]


@dataclass(frozen=True, slots=True)
class Client:
    """Lengths of one client in one window. Input is text plus, for each medium, tokens per item times items."""

    text: Marginal
    output: Marginal
    media: tuple[tuple[Marginal, Marginal], ...] = ()

    def draw(self, draw: np.random.Generator, count: int) -> tuple[Ints, Ints]:
        """Input and output tokens of `count` requests; all items of one request have the same size."""
        total = self.text.draw(draw, count)
        for tokens, items in self.media:
            total = total + tokens.draw(draw, count) * items.draw(draw, count)
        return total, self.output.draw(draw, count)


class Marginals:
    """The distributions of a ServeGen file. Source: ServeGen, arXiv 2505.09999."""

    def __init__(self, windows: Mapping[int, Mapping[float, Client]]) -> None:
        self._windows = windows

    @classmethod
    def read(cls, file: Path) -> Marginals:
        """From a `…_length_pdfs.jsonl.gz`. Empty windows are passed over. Raises TraceError."""
        windows: dict[int, dict[float, Client]] = {}
        with text_of(file) as text:
            for number, line in enumerate(text, 1):
                try:
                    row = json.loads(line)
                    client = _client(row)
                    if client is not None:
                        windows.setdefault(int(row["client_id"]), {})[float(row["window_start_s"])] = client
                except (ValueError, TypeError, KeyError, AttributeError) as error:
                    what = f"no length distributions of a client ({type(error).__name__}: {error})"
                    raise TraceError(what, f"{file}:{number}", "give ServeGen's distributions unchanged") from None
        return cls(windows)

    def knows(self, client: int) -> bool:
        """Whether the client has distributions at all."""
        return client in self._windows

    def at(self, client: int, time_s: float) -> Client:
        """The client's lengths at a time: those of its 6 h window, else of the nearest window that it has."""
        there = self._windows[client]
        window = math.floor(time_s / WINDOW_S) * WINDOW_S
        return there[window] if window in there else there[min(there, key=lambda start: (abs(start - window), start))]


def _client(row: dict[str, Any]) -> Client | None:
    text = row["text_tokens"] if "text_tokens" in row else row["input_tokens"]
    if not text or not row["output_tokens"]:
        return None
    media = []
    for medium in MEDIA:
        tokens, items = row.get(f"{medium}_tokens"), row.get(f"{medium}_count")
        if tokens and items and set(items) != {"0"}:
            media.append((Marginal.of(tokens), Marginal.of(items)))
    return Client(Marginal.of(text), Marginal.of(row["output_tokens"]), tuple(media))
