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
from orchestrator.frontend.http.conversation import Conversation
from orchestrator.frontend.http.limits import Limits
from orchestrator.frontend.http.options import Options
from orchestrator.frontend.http.responses_answer import ResponsesAnswer
from orchestrator.frontend.http.responses_request import read_responses
from orchestrator.frontend.http.tool_answer import ToolAnswer
from orchestrator.frontend.http.tool_reader import call_reader
from orchestrator.frontend.service import ModelInfo
from orchestrator.frontend.text import TextModel

Prompt = str | list[Any] | tuple[str | list[Any], ...]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One API. `name` is its label in metrics, `prompt_field` the field that holds the prompt.

    `read` checks a body and gives its input and options; it raises InvalidRequest, as does `prompt`, which makes of that input a
    text, or what should be a list of token ids, or a tuple of such where there are several. To text the tokenizer adds its own
    tokens if `special_tokens`. `render` makes the form of one answer; its last argument is the answer's index among several.
    """

    name: str
    prompt_field: str
    special_tokens: bool
    read: Callable[[dict[str, Any], ModelInfo, Limits], tuple[Any, Options]]
    prompt: Callable[[TextModel, Any], Prompt]
    render: Callable[[Identity, TextModel, Options, int], Renderer]


def _chat_prompt(text: TextModel, conversation: Conversation) -> Prompt:
    return conversation.prompt(text)


def _completion_prompt(_: TextModel, prompt: Prompt) -> Prompt:
    return prompt


def _chat_answer(identity: Identity, text: TextModel, options: Options, index: int) -> Renderer:
    if options.extras is not None and options.extras.tools is not None:
        return ToolAnswer(identity, call_reader(options.extras.tools), options.include_usage, index)
    return ChatAnswer(identity, text, options.logprobs is not None, options.include_usage, index)


def _completion_answer(identity: Identity, text: TextModel, options: Options, index: int) -> Renderer:
    return CompletionAnswer(identity, text, options.logprobs is not None, options.include_usage, index)


def _response(identity: Identity, _: TextModel, options: Options, index: int) -> Renderer:
    tools = None if options.extras is None else options.extras.tools
    return ResponsesAnswer(identity, call_reader(tools), options.repeated or {})


# A template writes the special tokens itself.
CHAT = Endpoint("chat", "messages", False, read_chat, _chat_prompt, _chat_answer)
COMPLETIONS = Endpoint("completions", "prompt", True, read_completion, _completion_prompt, _completion_answer)
RESPONSES = Endpoint("responses", "input", False, read_responses, _chat_prompt, _response)
