"""How long every decode step of a worker took, kept as runs and expanded once at the end."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orchestrator.performance.truth import Line

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class StepLog:
    """Runs of steps in order, and which steps the requests of each tier took part in.

    The pauses between a request's tokens are the times of the steps that it took part in, so inter-token latencies are step times
    weighted by how many requests took part. Only the first step of a stay differs: its pause began before the step did.
    """

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._runs: list[tuple[float, int, float, int]] = []
        self._stays: dict[str, list[tuple[int, int, float]]] = {}
        self._pauses: dict[str, list[float]] = {}

    def run(self, steps: int, line: Line, context_tokens: float, requests: int, factor: float) -> None:
        """`steps` steps of `requests` requests, the first one reading `context_tokens`, each `factor` times what `line` says."""
        self._lines.append(line)
        self._runs.append((context_tokens, requests, factor, steps))

    def single(self, seconds: float) -> None:
        """One step that shared its iteration with prompts."""
        self._lines.append(Line(seconds, 0.0, 0.0))
        self._runs.append((0.0, 0, 1.0, 1))

    def pause(self, tier: str, seconds: float) -> None:
        """A token that a request of `tier` got otherwise than from a step, that long after the one before."""
        self._pauses.setdefault(tier, []).append(seconds)

    def stay(self, tier: str, first: int, last: int, waited_s: float) -> None:
        """A request of `tier` took part in steps [first, last), after its last token had waited `waited_s` for the first one."""
        if last > first:
            self._stays.setdefault(tier, []).append((first, last, waited_s))

    def seconds(self) -> Floats:
        """Time of each step, shape (steps,)."""
        if not self._runs:
            return np.zeros(0)
        table = np.array(self._runs, np.float64)
        counts = table[:, 3].astype(np.int64)
        of_run = np.repeat(np.arange(len(counts)), counts)
        starts = np.cumsum(counts) - counts
        index = np.arange(len(of_run)) - starts[of_run]
        context = table[of_run, 0] + table[of_run, 1] * index
        values = np.array([(line.floor_s, line.base_s, line.per_context_token_s) for line in self._lines])[of_run]
        return np.asarray(np.maximum(values[:, 0], values[:, 1] + values[:, 2] * context) * table[of_run, 2])

    def gaps(self) -> dict[str, tuple[Floats, Ints]]:
        """Inter-token latencies by tier: values in seconds, and how often each occurred."""
        seconds = self.seconds()
        found = {}
        for tier in sorted(self._stays.keys() | self._pauses.keys()):
            table = np.array(self._stays.get(tier, []), np.float64).reshape(-1, 3)
            first, last = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)
            waited = table[:, 2] > 0
            ends = len(seconds) + 1
            change = np.bincount(first + waited, minlength=ends) - np.bincount(last, minlength=ends)
            weights = np.cumsum(change[:-1])
            late = np.append(table[waited, 2] + seconds[first[waited]], self._pauses.get(tier, []))
            took = weights > 0
            found[tier] = (
                np.concatenate([seconds[took], late]),
                np.concatenate([weights[took], np.ones(len(late), np.int64)]),
            )
        return found
