"""The body of an answer of several choices, or one that tells of its prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.frontend.http.choice import Choice
from orchestrator.frontend.http.extras import Extras
from orchestrator.frontend.http.options import Options
from orchestrator.frontend.http.prompt_logprobs import echo, prompt_entries
from orchestrator.frontend.text import TextModel


class Completing:
    """Called once, when every choice is finished."""

    def __init__(self, text: TextModel, options: Options, extras: Extras) -> None:
        self._text = text
        self._options = options
        self._extras = extras

    def __call__(self, choices: Sequence[Choice], usage: dict[str, Any]) -> dict[str, Any]:
        """The body; raises ValueError where a worker reported the prompt incompletely."""
        scores = {c.prompt: c.assembler.prompt_logprobs for c in choices if c.assembler.prompt_logprobs}
        found = []
        for choice in choices:
            assert choice.finish is not None, "an answer is made when all is there"
            shown = choice.renderer.choice("".join(choice.texts), choice.tokens, choice.finish)
            if self._extras.echo:
                logprobs = scores.get(choice.prompt, ())
                echo(self._text, choice.submission.tokens, logprobs, self._options.logprobs or 0, shown)
            found.append(shown)
        body = choices[0].renderer.body(found, usage)
        if self._extras.prompt_logprobs is not None:
            body_entries: dict[int, list[Any]] = {}
            for choice in choices:
                if choice.prompt not in body_entries:
                    logprobs = scores.get(choice.prompt, ())
                    body_entries[choice.prompt] = prompt_entries(
                        self._text, choice.submission.tokens, logprobs, self._extras.prompt_logprobs
                    )
            choices[0].renderer.annotate(body, [body_entries[choice.prompt] for choice in choices])
        return body
