"""The one place that decides about a call, whatever protocol it came by."""

from __future__ import annotations

import time
from collections.abc import Callable

from orchestrator.frontend.auth.api_key import ApiKey, KeyRole
from orchestrator.frontend.auth.caller import ANYBODY, Caller
from orchestrator.frontend.auth.denied import Denied, no_key, not_operator
from orchestrator.frontend.auth.keyring import Keyring
from orchestrator.frontend.auth.usage import Usage
from orchestrator.frontend.service import ServiceError

Refusals = Callable[[str], None]
"""Hears the reason of every refusal: `no_key`, `role`, or the cause of a limit."""


class Gate:
    """Keys, roles and limits. Keeps one `Usage` per name of a key with limits, however much is sent."""

    def __init__(
        self,
        keys: Keyring,
        *,
        open_metrics: bool = False,
        refused: Refusals | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.open_metrics = open_metrics
        self._keys = keys
        self._refused = refused or _ignore
        self._clock = clock
        self._usages: dict[str, Usage] = {}

    def admit(self, authorization: str, needed: KeyRole, counted: bool = False) -> Caller:
        """The caller behind an Authorization header; raises Denied.

        A `counted` call is held against the key's limits: raises ServiceError above them, and its caller must be told when it
        is `done`.
        """
        if not self._keys.enabled:
            return ANYBODY
        key = self._keys.find(authorization)
        try:
            if key is None:
                raise no_key()
            if needed is KeyRole.OPERATOR and key.role is not KeyRole.OPERATOR:
                raise not_operator(key.name)
            usage = self._usage(key) if counted else None
            if usage is not None:
                usage.begin(self._clock())
        except Denied as denied:
            self._refused("role" if denied.known else "no_key")
            raise
        except ServiceError as error:
            self._refused(error.cause.value)
            raise
        return Caller(key.name, key.role, usage, self._clock)

    def _usage(self, key: ApiKey) -> Usage | None:
        now_s = self._clock()
        usage = self._usages.get(key.name)
        if usage is None:
            if key.limits == type(key.limits)():
                return None
            if len(self._usages) >= 2 * len(self._keys.names) + 8:
                self._forget()
            usage = self._usages[key.name] = Usage(key.name, key.limits, now_s)
        usage.limit(key.limits, now_s)
        return usage

    def _forget(self) -> None:
        """Drop what belongs to names that no key has any more."""
        names = self._keys.names
        for name in [name for name, usage in self._usages.items() if name not in names and not usage.running]:
            del self._usages[name]


def _ignore(_: str) -> None:
    """Nobody counts refusals."""
