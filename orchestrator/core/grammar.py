"""What an output must look like: a JSON Schema or a regular expression, compiled over a model's tokens by llguidance.

The front door compiles to refuse what cannot be enforced, and the engine to enforce it: both with this, so they agree.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.core.sampling import Sampling

if TYPE_CHECKING:
    from llguidance import LLMatcher

MAX_GRAMMAR_BYTES = 64 << 10
"""Longer schemas and expressions are refused before anything looks at them."""
_LIMITS = {
    "initial_lexer_fuel": 1_000_000,  # 20 ms at most
    "step_lexer_fuel": 100_000,  # 7 ms at most for one mask
    "step_max_items": 20_000,
    "max_lexer_states": 32_000,  # about 1 KiB each
    "max_grammar_size": 100_000,
    "verbose_errors": False,  # the library's would quote its own state to the client
}
# Compact JSON: free white space would let a small model write blanks until its tokens are spent.
_JSON_FORM = {"whitespace_flexible": False, "coerce_one_of": False, "lenient": False}
_FORM_KEY = "x-guidance"


class GrammarError(ValueError):
    """A grammar that cannot be enforced; the message is one line and names the kind of grammar."""


class GrammarKind(StrEnum):
    """The field of a request that holds the grammar."""

    JSON_SCHEMA = "json_schema"
    REGEX = "regex"


@dataclass(frozen=True, slots=True)
class Grammar:
    """`text` is a JSON Schema (an object, as JSON) or a regular expression for the whole output."""

    kind: GrammarKind
    text: str


def grammar_of(sampling: Sampling) -> Grammar | None:
    """The grammar that a request asks for, if any; raises GrammarError for two at once."""
    if sampling.json_schema is None:
        return None if sampling.regex is None else Grammar(GrammarKind.REGEX, sampling.regex)
    if sampling.regex is not None:
        raise GrammarError("json_schema and regex cannot be combined: send one of them")
    return Grammar(GrammarKind.JSON_SCHEMA, sampling.json_schema)


class GrammarCompiler:
    """Compiles grammars over one tokenizer. Loading costs 5 ms for 1,500 tokens and 0.5 s for 130,000. Safe for many threads."""

    def __init__(self, tokenizer_file: Path, vocab_size: int, eos_token_ids: Sequence[int]) -> None:
        """`tokenizer_file` is a Hugging Face tokenizer.json; raises GrammarError if the library or a usable file is missing."""
        try:
            import llguidance
        except ImportError as error:
            raise GrammarError("json_schema and regex need the package llguidance, which is not installed") from error
        try:
            text = _without_truncation(tokenizer_file.read_text())
            self._tokenizer = llguidance.LLTokenizer(text, n_vocab=vocab_size, eos_token=list(eos_token_ids) or None)
        except FileNotFoundError as error:
            raise GrammarError("json_schema and regex need a model with a tokenizer.json") from error
        except Exception as error:  # the library raises whatever its parser does
            raise GrammarError(f"json_schema and regex do not work with this model's tokenizer: {error}") from error
        self._limits = llguidance.LLParserLimits(**_LIMITS)  # type: ignore[arg-type]
        self._matcher = llguidance.LLMatcher
        self.mask_words = -(-vocab_size // 32)
        """int32 words of one token mask."""

    def compile(self, grammar: Grammar) -> LLMatcher:
        """A matcher at the start of `grammar`, to be copied per request; raises GrammarError. Costs milliseconds, 0.4 s at worst."""
        name = grammar.kind.value
        if len(grammar.text.encode(errors="replace")) > MAX_GRAMMAR_BYTES:
            raise GrammarError(f"{name} is longer than {MAX_GRAMMAR_BYTES} bytes: send a smaller one")
        try:
            source = self._source(grammar)
        except (ValueError, RecursionError) as error:
            raise GrammarError(f"{name} {_one_line(str(error))}") from error
        matcher = self._matcher(self._tokenizer, source, log_level=0, limits=self._limits)
        if not matcher.is_error():
            matcher.compute_bitmask()  # some limits show at the first mask only, and its tables serve every copy
        # Others show where the first choice is: after the opening brace of an object, say.
        ahead = matcher.deep_copy()
        if not ahead.is_error() and ahead.consume_tokens(ahead.compute_ff_tokens()) and not ahead.is_stopped():
            ahead.compute_bitmask()
        if ahead.is_error():
            raise GrammarError(f"{name} cannot be enforced: {_one_line(ahead.get_error())}")
        return matcher

    def _source(self, grammar: Grammar) -> str:
        if grammar.kind is GrammarKind.REGEX:
            return self._matcher.grammar_from_regex(grammar.text)
        try:
            schema = json.loads(grammar.text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"is not JSON: {error}") from error
        if not isinstance(schema, dict):
            raise ValueError("must be a JSON object")
        if _FORM_KEY in schema:  # it would switch the library's checks off
            raise ValueError(f"must not have the key {_FORM_KEY!r}")
        return self._matcher.grammar_from_json_schema(grammar.text, overrides=_JSON_FORM)  # type: ignore[arg-type]


def _without_truncation(text: str) -> str:
    """Forced text is tokenized whole and without padding, whatever the file says."""
    tokenizer: dict[str, Any] = json.loads(text)
    if tokenizer.get("truncation") is None and tokenizer.get("padding") is None:
        return text
    return json.dumps({**tokenizer, "truncation": None, "padding": None})


def _one_line(error: str) -> str:
    """What a client can use of the library's message."""
    if "NoExtension" in error:
        return "no output matches it"
    lines = [line.strip() for line in error.replace("<non-verbose/>", "").splitlines() if line.strip()]
    reason = next((line for line in lines if line.startswith("error: ")), lines[0] if lines else "unknown reason")
    return reason.removeprefix("error: ")[:300]
