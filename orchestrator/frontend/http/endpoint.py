"""What distinguishes the APIs that generate text: how a body is read and how an answer looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orchestrator.frontend.http.answer import Identity, Renderer
from orchestrator.frontend.http.chat_answer import ChatAnswer
from orchestrator.frontend.http.chat_request import read_chat
from orchestrator.frontend.http.completion_answer import CompletionAnswer
from orchestrator.frontend.http.completion_request import read_completion
from orchestrator.frontend.http.limits import Limits
from orchestrator.frontend.http.options import Options
from orchestrator.frontend.service import ModelInfo
from orchestrator.frontend.text import TextModel

Prompt = str | list[Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One API. `name` is its label in metrics, `prompt_field` the field that holds the prompt.

    `read` gives the prompt as text, or as what should be a list of token ids, and the options; it raises InvalidRequest. To text
    the tokenizer adds its own tokens if `special_tokens`. `render` makes the form of one answer.
    """

    name: str
    prompt_field: str
    special_tokens: bool
    read: Callable[[dict[str, Any], TextModel, ModelInfo, Limits], tuple[Prompt, Options]]
    render: Callable[[Identity, TextModel, Options], Renderer]


def _read_chat(body: dict[str, Any], text: TextModel, model: ModelInfo, limits: Limits) -> tuple[Prompt, Options]:
    messages, options = read_chat(body, model, limits)
    return text.render_chat(messages), options


def _read_completion(body: dict[str, Any], _: TextModel, model: ModelInfo, limits: Limits) -> tuple[Prompt, Options]:
    return read_completion(body, model, limits)


def _chat_answer(identity: Identity, text: TextModel, options: Options) -> Renderer:
    return ChatAnswer(identity, text, options.logprobs is not None, options.include_usage)


def _completion_answer(identity: Identity, text: TextModel, options: Options) -> Renderer:
    return CompletionAnswer(identity, text, options.logprobs is not None, options.include_usage)


# A template writes the special tokens itself.
CHAT = Endpoint("chat", "messages", False, _read_chat, _chat_answer)
COMPLETIONS = Endpoint("completions", "prompt", True, _read_completion, _completion_answer)
