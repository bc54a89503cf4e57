"""Refuses, before a request is dispatched, a schema or expression that no worker could enforce."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from orchestrator.core.grammar import Grammar, GrammarCompiler, GrammarError, GrammarKind

_REMEMBERED = 128


class GrammarCheck:
    """Verdicts on grammars over the tokenizer of one model. Safe for many threads; the last verdicts are remembered."""

    def __init__(self, compiler: GrammarCompiler) -> None:
        self._compiler = compiler
        self._verdict = lru_cache(_REMEMBERED)(self._compile)

    @classmethod
    def load(cls, model_dir: Path, vocab_size: int, eos_token_ids: tuple[int, ...]) -> GrammarCheck:
        """For the model in `model_dir`; raises GrammarError where grammars cannot be used with it at all."""
        return cls(GrammarCompiler(model_dir / "tokenizer.json", vocab_size, eos_token_ids))

    def compile_check(self, json_schema: str) -> str | None:
        """What is wrong with a JSON Schema, in one line, or None. Takes milliseconds, 0.4 s at worst: not for an event loop."""
        return self._verdict(Grammar(GrammarKind.JSON_SCHEMA, json_schema))

    def compile_check_regex(self, regex: str) -> str | None:
        """The same for a regular expression."""
        return self._verdict(Grammar(GrammarKind.REGEX, regex))

    def _compile(self, grammar: Grammar) -> str | None:
        try:
            self._compiler.compile(grammar)
        except GrammarError as error:
            return str(error)
        return None
