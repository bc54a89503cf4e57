"""How much of a goal a forecast may use up, learned from what became of those that were let in."""

from __future__ import annotations

from dataclasses import dataclass

FIRST = 0.8
LEAST = 0.4
MOST = 0.95
DOWN = 0.05
UP = DOWN / 100
"""So that about one in a hundred of those that come near their goal misses it."""
NEAR = 0.7
"""Below this share of what is let in an answer says nothing about the bound."""


@dataclass(slots=True)
class Margin:
    """`share` of a goal (TTFT or TPOT) up to which a forecast lets a request in.

    A forecast is a mean: handoffs, stalls and whoever is let in later weigh on single answers, on a shared machine more than on a
    GPU of its own. The share falls with every answer that misses its goal and creeps up with those that keep it at such a load
    (a stochastic approximation of the quantile; Robbins and Monro 1951).
    """

    share: float = FIRST

    def answered(self, seen_s: float, goal_s: float) -> None:
        """What a request let in has seen."""
        if seen_s > goal_s:
            self.share = max(LEAST, self.share - DOWN)
        elif seen_s > NEAR * self.share * goal_s:
            self.share = min(MOST, self.share + UP)
