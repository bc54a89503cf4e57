"""What a request may ask for beyond one plain answer: several answers, a form of the output, the prompt's log-probabilities, tools."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.frontend.http.fields import Fields
from orchestrator.frontend.http.limits import Limits
from orchestrator.frontend.http.output_form import FORM_FIELDS, OutputForm, read_form
from orchestrator.frontend.http.tool_use import TOOL_FIELDS, ToolUse, read_tools
from orchestrator.frontend.text import InvalidRequest

_SHARED_FIELDS = frozenset({"n", "best_of", "prompt_logprobs"}) | FORM_FIELDS
CHAT_FIELDS = _SHARED_FIELDS | TOOL_FIELDS
COMPLETION_FIELDS = _SHARED_FIELDS | {"echo"}
_CALLS_TAKE_NO = ("stop", "stop_token_ids", "logprobs", "response_format", "structured_outputs")


@dataclass(frozen=True, slots=True)
class Extras:
    """`prompt_logprobs` is the number of alternatives per prompt token. `form` binds the output, that of forced tool calls too."""

    n: int = 1
    form: OutputForm | None = None
    prompt_logprobs: int | None = None
    echo: bool = False
    tools: ToolUse | None = None


_NONE = Extras()


def read_chat_extras(fields: Fields, limits: Limits) -> Extras | None:
    """The extras of a chat, None where it wants none; raises InvalidRequest."""
    if not fields.has_any(CHAT_FIELDS):
        return None
    n = _answers(fields, limits)
    prompt_logprobs = _prompt_logprobs(fields, limits)
    form, tools = read_form(fields), read_tools(fields)
    if tools is not None:
        for field in _CALLS_TAKE_NO:
            value = fields.get(field)
            if value and value != {"type": "text"} and (tools.forced or field not in ("stop", "stop_token_ids")):
                raise InvalidRequest(f"{field!r} cannot be combined with tool calls: remove one of them.", field)
        form = tools.form
    return _some(Extras(n, form, prompt_logprobs, False, tools))


def read_completion_extras(fields: Fields, limits: Limits, several_prompts: bool) -> Extras | None:
    """The extras of a completion, None where it wants none; several prompts are one. Raises InvalidRequest."""
    if not fields.has_any(COMPLETION_FIELDS):
        return _NONE if several_prompts else None
    n = _answers(fields, limits)
    echo = fields.boolean("echo")
    if echo and fields.boolean("stream"):
        raise InvalidRequest("'echo' and 'stream': true cannot be combined: remove one of them.", "echo")
    extras = Extras(n, read_form(fields), _prompt_logprobs(fields, limits), echo)
    return extras if several_prompts else _some(extras)


def _some(extras: Extras) -> Extras | None:
    return None if extras == _NONE else extras


def _answers(fields: Fields, limits: Limits) -> int:
    n = fields.integer("n", 1, limits.max_answers) or 1
    best_of = fields.get("best_of")
    if best_of is not None and (best_of != 1 or isinstance(best_of, bool) or n > 1):
        raise InvalidRequest(
            "'best_of': picking the best of several answers is not supported: remove it, ask for 'n' answers and pick.",
            "best_of",
            "unsupported_field",
        )
    return n


def _prompt_logprobs(fields: Fields, limits: Limits) -> int | None:
    wanted = fields.integer("prompt_logprobs", 0, limits.max_logprobs)
    if wanted is not None and fields.boolean("stream"):
        raise InvalidRequest(
            "'prompt_logprobs' and 'stream': true cannot be combined: remove one of them.", "prompt_logprobs"
        )
    return wanted
