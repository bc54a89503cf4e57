"""The caller of one request: who it is, and what it may still use."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar

from orchestrator.frontend.auth.api_key import KeyRole
from orchestrator.frontend.auth.usage import Usage


class Caller:
    """`name` is that of the key, "" where no keys are asked for. Call `done` once, when the request is over."""

    __slots__ = ("_charged", "_clock", "_usage", "name", "role")

    def __init__(
        self, name: str, role: KeyRole, usage: Usage | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self.role = role
        self._usage = usage
        self._clock = clock
        self._charged = 0

    def charge(self, tokens: int) -> None:
        """Count prompt and granted output against the key; raises ServiceError where that is too much."""
        if self._usage is not None:
            self._usage.take_tokens(tokens, self._clock())
            self._charged += tokens

    def done(self, used_tokens: int | None = None) -> None:
        """The request is over. `used_tokens` of the charged ones are kept, all of them by default. A second call does nothing."""
        usage, self._usage = self._usage, None
        if usage is not None:
            usage.end()
            if used_tokens is not None and used_tokens < self._charged:
                usage.give_tokens(self._charged - used_tokens)


ANYBODY = Caller("", KeyRole.OPERATOR)
"""The caller where no keys are configured, and of what is open to all."""

CALLER: ContextVar[Caller] = ContextVar("caller", default=ANYBODY)
"""The caller of the gRPC call that this task serves."""
