"""Whether the controller hangs, told from one that is still starting."""

from __future__ import annotations

from workers.watch import Silence

ASK_S = 1.0
"""How often it is asked."""
START_S = 120.0
"""What a controller may take from the start of its process until it can be asked. On a busy machine imports alone take half a minute."""
TURN_S = 60.0
"""A tick that lasts longer hangs; one that waits for a store that is away takes up to half of it."""


class ControllerWatch:
    """Told of every asking, at `now_s` (monotonic); says why the controller hangs, None while it does not.

    A controller that was killed starts as slowly as the machine is busy, and cannot answer meanwhile: whoever counts that as
    silence kills it again, and again. So silence counts from the moment at which Ray says that it is up, and its start has a
    limit of its own.
    """

    def __init__(self, answer_timeout_s: float) -> None:
        self._answer_timeout_s = answer_timeout_s
        self._silence, self._start, self._turn = (Silence(ASK_S * 4) for _ in range(3))
        self._turns: int | None = None

    def again(self) -> None:
        """It was ended or made anew: everything counts from here."""
        for silence in (self._silence, self._start, self._turn):
            silence.heard()
        self._turns = None

    def answered(self, now_s: float, turns: int) -> str | None:
        """It says that it has begun `turns` ticks."""
        _, _, turn_s = self._check(now_s)
        self._silence.heard()
        self._start.heard()
        if turns != self._turns:
            self._turns = turns
            self._turn.heard()
            return None
        return f"its tick lasts for {turn_s:.1f} s" if turn_s > TURN_S else None

    def silent(self, now_s: float, starting: bool) -> str | None:
        """It did not answer in time; `starting` is true where it cannot do so yet."""
        silent_s, start_s, _ = self._check(now_s)
        if starting:
            self._silence.heard()
            self._turn.heard()
            self._turns = None
            return f"it has not started for {start_s:.1f} s" if start_s > START_S else None
        self._start.heard()
        return f"no answer for {silent_s:.1f} s" if silent_s > self._answer_timeout_s else None

    def _check(self, now_s: float) -> tuple[float, float, float]:
        return self._silence.check(now_s), self._start.check(now_s), self._turn.check(now_s)
