"""The submissions of a request that takes several, or more than plain tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from orchestrator.frontend.http.endpoint import Prompt
from orchestrator.frontend.http.extras import Extras
from orchestrator.frontend.http.limits import Limits
from orchestrator.frontend.http.options import Options
from orchestrator.frontend.service import Submission
from orchestrator.frontend.text import InvalidRequest, TextModel
from orchestrator.frontend.text.budget import SEED_BITS


async def encode_prompts(text: TextModel, prompt: Prompt, special_tokens: bool) -> list[list[Any]]:
    """What should be lists of token ids, one for each prompt."""
    prompts = prompt if isinstance(prompt, tuple) else (prompt,)
    return [await text.encode_async(one, special_tokens) if isinstance(one, str) else one for one in prompts]


def expand(
    plain: Sequence[Submission], options: Options, extras: Extras, limits: Limits
) -> list[tuple[int, Submission]]:
    """Submissions in the order of their answers, each with its prompt's index; the first ones belong to the first prompt.

    `plain` has one for each prompt. Raises InvalidRequest for too many log-probabilities of prompt tokens. Answers differ by
    seed: the client's and those after it.
    """
    alternatives = scored(options, extras)
    tokens = sum(len(submission.tokens) for submission in plain)
    if alternatives is not None and tokens * max(1, alternatives) > limits.max_prompt_logprobs:
        param = "echo" if extras.prompt_logprobs is None else "prompt_logprobs"
        raise InvalidRequest(
            f"{param!r}: {tokens} prompt tokens with {alternatives} alternatives each are more than "
            f"{limits.max_prompt_logprobs}: ask for fewer, or shorten the prompt.",
            param,
        )
    form = extras.form
    several = len(plain) * extras.n > 1
    found: list[tuple[int, Submission]] = []
    for prompt, submission in enumerate(plain):
        for i in range(extras.n):
            sampling = replace(
                submission.sampling,
                seed=(submission.sampling.seed + i) & ((1 << SEED_BITS) - 1),
                json_schema=None if form is None else form.json_schema,
                regex=None if form is None else form.regex,
                prompt_logprobs=alternatives if i == 0 else None,  # those of one prompt are the same
            )
            request_id = f"{submission.request_id}-{len(found)}" if several else submission.request_id
            found.append((prompt, replace(submission, request_id=request_id, sampling=sampling)))
    return found


def scored(options: Options, extras: Extras) -> int | None:
    """Alternatives per prompt token that the workers must report; None where nothing of the prompt is."""
    echoed = options.logprobs if extras.echo else None
    if echoed is None or extras.prompt_logprobs is None:
        return extras.prompt_logprobs if echoed is None else echoed
    return max(echoed, extras.prompt_logprobs)
