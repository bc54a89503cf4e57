"""One answer among several: a submission, and what has come for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from orchestrator.core.sampling import Finish
from orchestrator.frontend.http.answer import ChoiceRenderer
from orchestrator.frontend.service import Delta, Running, ServiceError, Submission
from orchestrator.frontend.text import Assembler, TextToken
from orchestrator.observability import RequestMeter


class ChoiceOwner(Protocol):
    """Whoever makes one answer of all choices."""

    def put(self, choice: Choice, item: Delta | ServiceError) -> None: ...


@dataclass(slots=True)
class Choice:
    """One submission of a group; a Sink. `prompt` is its prompt's index among those of the request."""

    submission: Submission
    prompt: int
    assembler: Assembler
    renderer: ChoiceRenderer
    meter: RequestMeter
    group: ChoiceOwner | None = None
    running: Running | None = None
    begun: bool = False
    finish: Finish | None = None
    texts: list[str] = field(default_factory=list)
    tokens: list[TextToken] = field(default_factory=list)

    def put(self, item: Delta | ServiceError) -> None:
        """See Sink. Never raises."""
        if self.group is not None:
            self.group.put(self, item)

    @property
    def entries(self) -> int:
        """Log-probabilities of prompt tokens."""
        found = self.assembler.prompt_logprobs
        return len(found) * (1 + len(found[0].top)) if found else 0
