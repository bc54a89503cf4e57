"""One request's output: token deltas in, text pieces out."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from orchestrator.core.sampling import Finish
from orchestrator.frontend.service import Delta, Logprob
from orchestrator.frontend.text.model import TextModel
from orchestrator.frontend.text.stop import StopStrings


@dataclass(frozen=True, slots=True)
class TextToken:
    """An output token, where its text starts (in characters of the output) and its log-probabilities."""

    token: int
    start: int
    logprob: Logprob


@dataclass(frozen=True, slots=True)
class Piece:
    """A step of the output. `tokens` come at once; `text` and `text_tokens` lag behind while a stop string or a character is incomplete."""

    first_index: int
    tokens: tuple[int, ...]
    logprobs: tuple[Logprob, ...]
    text: str
    text_tokens: tuple[TextToken, ...]
    finish: Finish | None


class Assembler:
    """Detokenizes, finds stop strings and counts, for one request.

    `end_tokens` are left out of the text when one of them ends the request. After a piece with `finish` the request is over;
    `stopped` then says that a stop string ended it and the workers must be told.
    """

    def __init__(self, text: TextModel, stops: Sequence[str], end_tokens: Collection[int], logprobs: bool) -> None:
        self._detokenizer = text.detokenizer()
        self._stops = StopStrings(stops)
        self._end_tokens = end_tokens
        self._per_token = bool(stops) or logprobs
        self._waiting: deque[tuple[TextToken, int]] = deque()
        self._decoded_chars = 0
        self._shown_chars = 0
        self.completion_tokens = 0
        self.cached_tokens = 0
        self.prompt_logprobs: tuple[Logprob, ...] = ()

    @property
    def stopped(self) -> bool:
        return self._stops.stopped

    @property
    def per_token(self) -> bool:
        """Tokens must be looked at one by one: for stop strings, or to report log-probabilities."""
        return self._per_token

    def quick(self, token: int) -> bytes | None:
        """`push` of a delta with this token alone, as a JSON string of its text.

        None, and nothing has happened, where that takes a closer look. Not for requests that are looked at `per_token`.
        """
        text = self._detokenizer.quick(token)
        if text is not None:
            self.completion_tokens += 1
        return text

    def push(self, delta: Delta) -> Piece:
        """The piece that follows from `delta`."""
        self.cached_tokens = max(self.cached_tokens, delta.cached_tokens)
        if delta.prompt_logprobs:
            self.prompt_logprobs = delta.prompt_logprobs
        tokens, logprobs, finish = delta.tokens, delta.logprobs, delta.finish
        shown = tokens
        if finish is Finish.STOP and tokens and tokens[-1] in self._end_tokens:
            shown = tokens[:-1]
        if self._per_token:
            text, used = self._push_each(shown, logprobs)
            if self.stopped:
                tokens, logprobs, finish = tokens[:used], logprobs[:used], Finish.STOP
        else:
            text = self._detokenizer.push(shown) if shown else ""
        if finish is not None and not self.stopped:
            text += self._stops.push(self._detokenizer.finish())
            text += self._stops.finish()
        self._shown_chars += len(text)
        self.completion_tokens += len(tokens)
        return Piece(delta.first_index, tokens, logprobs, text, self._release(finish is not None), finish)

    def _push_each(self, tokens: tuple[int, ...], logprobs: tuple[Logprob, ...]) -> tuple[str, int]:
        """Text that may be shown, and how many tokens were needed until a stop string completed."""
        parts = []
        for i, token in enumerate(tokens):
            start = self._decoded_chars
            text = self._detokenizer.push((token,))
            self._decoded_chars += len(text)
            if logprobs:
                self._waiting.append((TextToken(token, start, logprobs[i]), self._decoded_chars))
            parts.append(self._stops.push(text))
            if self.stopped:
                return "".join(parts), i + 1
        return "".join(parts), len(tokens)

    def _release(self, last: bool) -> tuple[TextToken, ...]:
        """Tokens whose text has been shown. A stop string takes the tokens along that lie in it entirely."""
        out = []
        while self._waiting:
            token, end = self._waiting[0]
            if end > self._shown_chars and not last:
                break
            self._waiting.popleft()
            if not self.stopped or token.start < self._shown_chars:
                out.append(token)
        return tuple(out)
