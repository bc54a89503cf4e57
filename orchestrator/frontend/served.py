"""A served model, as the APIs need it."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.frontend.service import TokenService
from orchestrator.frontend.text import TextModel
from orchestrator.frontend.text.grammar_gate import GrammarGate


@dataclass(frozen=True, slots=True)
class Served:
    """`grammars` is None where no form of the output is enforced."""

    service: TokenService
    text: TextModel
    grammars: GrammarGate | None = None

    @property
    def name(self) -> str:
        return self.service.model.name
