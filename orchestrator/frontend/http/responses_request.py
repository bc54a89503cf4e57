"""The body of POST /v1/responses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orchestrator.frontend.http.conversation import Conversation
from orchestrator.frontend.http.extras import Extras
from orchestrator.frontend.http.fields import Fields, describe
from orchestrator.frontend.http.limits import Limits
from orchestrator.frontend.http.options import Options, read_options
from orchestrator.frontend.http.output_form import OutputForm, json_form, schema_format
from orchestrator.frontend.http.responses_input import read_input
from orchestrator.frontend.http.tool_use import ToolUse, read_tools
from orchestrator.frontend.http.unsupported import LABELS, RESPONSES_UNSUPPORTED, refuse_unsupported
from orchestrator.frontend.service import ModelInfo
from orchestrator.frontend.text import InvalidRequest

# Read as in a chat: the sampling of OpenAI and the extensions of vLLM.
_SAMPLING = frozenset({"temperature", "top_p", "top_k", "seed", "stream", "ignore_eos"})
_FIELDS = (
    frozenset(
        {
            *("model", "input", "instructions", "max_output_tokens", "text", "store", "stream_options"),
            *("tools", "tool_choice", "parallel_tool_calls"),
        }
    )
    | _SAMPLING
    | LABELS
    | RESPONSES_UNSUPPORTED.keys()
)
_MAX_TOKENS = 1 << 31
_LABELLED = 16


def read_responses(body: dict[str, Any], model: ModelInfo, limits: Limits) -> tuple[Conversation, Options]:
    """The conversation and options, with what the answer repeats; raises InvalidRequest."""
    fields = Fields(body)
    fields.refuse_unknown(_FIELDS)
    refuse_unsupported(fields, RESPONSES_UNSUPPORTED)
    fields.boolean("store")  # nothing is stored, and the answer says so
    _check_stream_options(fields)
    max_tokens = fields.integer("max_output_tokens", 1, _MAX_TOKENS)
    messages, tool_param = read_input(fields)
    form, tools = _form(fields), _tools(fields)
    if tools is not None:
        if form is not None:
            raise InvalidRequest("'text.format' cannot be combined with tool calls: remove one of them.", "text")
        form = tools.form
    wanted = None if form is None and tools is None else Extras(form=form, tools=tools)
    sampling = {name: body[name] for name in _SAMPLING if name in body} | {"max_tokens": max_tokens}
    options = read_options(Fields(sampling), model, limits, None, wanted)
    options = replace(options, max_tokens_field="max_output_tokens", repeated=_repeated(fields, options))
    return Conversation(messages, tools, tool_param), options


def _repeated(fields: Fields, options: Options) -> dict[str, Any]:
    """The fields of the request that its answer repeats."""
    text = fields.written("text") or {}
    return {
        "instructions": fields.get("instructions"),
        "max_output_tokens": options.max_tokens,
        "metadata": _metadata(fields),
        "parallel_tool_calls": fields.boolean("parallel_tool_calls", True),
        "temperature": options.temperature,
        "text": {"format": text.get("format") or {"type": "text"}},
        "tool_choice": fields.written("tool_choice") or "auto",
        "tools": fields.written("tools") or [],
        "top_p": options.top_p,
        "user": fields.string("user"),
    }


def _metadata(fields: Fields) -> dict[str, str]:
    value = fields.get("metadata")
    if value is None:
        return {}
    if not isinstance(value, dict) or any(not isinstance(v, str) for v in value.values()) or len(value) > _LABELLED:
        raise fields.wrong("metadata", value, f"an object of at most {_LABELLED} strings")
    for key in value:
        fields.clean("metadata", key)
        fields.clean("metadata", value[key])
    return value


def _form(fields: Fields) -> OutputForm | None:
    text = fields.get("text")
    if text is None:
        return None
    if not isinstance(text, dict):
        raise fields.wrong("text", text, 'an object such as {"format": {"type": "text"}}')
    inner = Fields(text, "text.")
    inner.refuse_unknown({"format", "verbosity"})
    if text.get("verbosity") not in (None, "medium"):
        raise InvalidRequest(
            f"'text.verbosity' is {describe(text['verbosity'])}: it is not supported, remove it.",
            "text.verbosity",
            "unsupported_field",
        )
    value = text.get("format")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise inner.wrong("format", value, 'an object such as {"type": "text"}')
    kind = value.get("type")
    if kind == "json_schema":
        return schema_format(Fields(value, "text.format."))
    Fields(value, "text.format.").refuse_unknown({"type"})
    if kind not in ("text", "json_object"):
        raise InvalidRequest(
            f"'text.format.type' is {describe(kind)}: use text, json_object or json_schema.", "text.format.type"
        )
    return json_form({"type": "object"}, "text.format") if kind == "json_object" else None


def _tools(fields: Fields) -> ToolUse | None:
    """Tools stand flat here; read as those of a chat."""
    tools, choice = fields.get("tools"), fields.get("tool_choice")
    if isinstance(tools, list):
        tools = [_nested(tool) for tool in tools]
    if isinstance(choice, dict) and choice.get("type") == "function" and "name" in choice:
        choice = {"type": "function", "function": {"name": choice["name"]}}
    parallel = fields.get("parallel_tool_calls")
    return read_tools(Fields({"tools": tools, "tool_choice": choice, "parallel_tool_calls": parallel}))


def _nested(tool: object) -> object:
    if not isinstance(tool, dict) or tool.get("type") != "function" or "function" in tool:
        return {} if isinstance(tool, dict) else tool
    return {"type": "function", "function": {key: value for key, value in tool.items() if key != "type"}}


def _check_stream_options(fields: Fields) -> None:
    value = fields.get("stream_options")
    if value is None:
        return
    if not isinstance(value, dict):
        raise fields.wrong("stream_options", value, "an object")
    options = Fields(value, "stream_options.")
    options.refuse_unknown({"include_obfuscation"})
    if options.boolean("include_obfuscation"):
        raise InvalidRequest(
            "'stream_options.include_obfuscation' is not supported: remove it.",
            "stream_options.include_obfuscation",
            "unsupported_field",
        )
