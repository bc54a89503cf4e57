"""Grammars of requests, checked before dispatch and off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from orchestrator.core.grammar import GrammarError
from orchestrator.frontend.service import Cause, ServiceError
from orchestrator.frontend.text.grammar_check import GrammarCheck
from orchestrator.frontend.text.model import TextModel
from orchestrator.frontend.text.problem import InvalidRequest

# A grammar takes up to 0.4 s: one that is slow should not hold up every other.
_THREADS = 2
MAX_WAITING = 64


class GrammarGate:
    """`load` is called once, when the first grammar comes: it costs up to half a second and memory that few clusters need."""

    def __init__(self, load: Callable[[], GrammarCheck]) -> None:
        self._load = load
        self._loading = Lock()
        self._check: GrammarCheck | None = None
        self._unusable: str | None = None
        self._waiting = 0
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="grammar")

    @classmethod
    def of(cls, model_dir: Path, text: TextModel) -> GrammarGate:
        """For the model in `model_dir`."""
        return cls(lambda: GrammarCheck.load(model_dir, text.vocab_size, text.eos_token_ids))

    async def check(self, json_schema: str | None, regex: str | None, param: str) -> None:
        """Raise InvalidRequest, with the reason, for a grammar that no worker could enforce, ServiceError where too many wait."""
        if json_schema is None and regex is None:
            return
        if self._waiting >= MAX_WAITING:
            raise ServiceError(
                Cause.QUEUE_FULL,
                f"{self._waiting} grammars wait to be checked, which is the limit; try again later",
                1.0,
            )
        self._waiting += 1
        try:
            reason = await asyncio.get_running_loop().run_in_executor(self._threads, self._reason, json_schema, regex)
        finally:
            self._waiting -= 1
        if reason is not None:
            raise InvalidRequest(f"{param!r}: {reason}. Correct it or remove it.", param, "invalid_grammar")

    def _reason(self, json_schema: str | None, regex: str | None) -> str | None:
        with self._loading:
            if self._check is None and self._unusable is None:
                try:
                    self._check = self._load()
                except GrammarError as error:
                    self._unusable = str(error)
        if self._check is None:
            return self._unusable
        if json_schema is not None:
            return self._check.compile_check(json_schema)
        return None if regex is None else self._check.compile_check_regex(regex)
