"""Fields of the OpenAI API that Tandem knows and cannot honour: refused unless they ask for nothing."""

from __future__ import annotations

from orchestrator.frontend.http.fields import Fields, describe
from orchestrator.frontend.text import InvalidRequest

# Labels that never change an answer; accepted so that usual clients work.
LABELS = frozenset({"user", "metadata", "safety_identifier", "prompt_cache_key"})

_OFF = (False,)
_ZERO = (0, 0.0)
_NO_AUDIO = "only text is supported: remove it"
_NO_PENALTY = "penalties are not supported: remove it or send the neutral value"
_RENAMED = 'send {{"structured_outputs": {{"{}": …}}}} instead'

_COMMON: dict[str, tuple[tuple[object, ...], str]] = {
    "frequency_penalty": (_ZERO, _NO_PENALTY),
    "presence_penalty": (_ZERO, _NO_PENALTY),
    "repetition_penalty": ((1, 1.0), _NO_PENALTY),
    "logit_bias": (({},), "it is not supported: remove it"),
    "min_p": (_ZERO, "it is not supported: remove it and use top_p or top_k"),
    "min_tokens": (_ZERO, "it is not supported: remove it and use ignore_eos with max_tokens"),
    "use_beam_search": (_OFF, "beam search is not supported: remove it"),
    "skip_special_tokens": ((True,), "special tokens are always skipped: remove it"),
    "include_stop_str_in_output": (_OFF, "the stop string is never part of the text: remove it"),
    "service_tier": (("auto", "default"), "choose a tier with the header x-llm-d-inference-objective and remove it"),
    "guided_json": ((), _RENAMED.format("json")),
    "guided_regex": ((), _RENAMED.format("regex")),
    "guided_choice": ((), _RENAMED.format("choice")),
    "guided_grammar": ((), "grammars are not supported: use structured_outputs with json, regex or choice"),
    "guided_decoding_backend": ((), "it is chosen by the cluster: remove it"),
}
_CHAT: dict[str, tuple[tuple[object, ...], str]] = {
    "functions": (([],), "it is superseded: send tools"),
    "function_call": (("none",), "it is superseded: send tool_choice"),
    "echo": (_OFF, "a chat is not echoed: remove it"),
    "modalities": ((["text"],), _NO_AUDIO),
    "audio": ((), _NO_AUDIO),
    "prediction": ((), "predicted outputs are not supported: remove it"),
    "reasoning_effort": ((), "it is not supported: remove it"),
    "verbosity": ((), "it is not supported: remove it"),
    "web_search_options": ((), "web search is not supported: remove it"),
    "store": (_OFF, "answers are not stored: remove it"),
    "add_generation_prompt": ((True,), "the generation prompt is always added: remove it"),
    "continue_final_message": (_OFF, "it is not supported: remove it and use /v1/completions"),
    "chat_template": ((), "the model's own template is used: remove it or send a finished prompt to /v1/completions"),
    "chat_template_kwargs": (({},), "the model's own template is used as it is: remove it"),
}
_COMPLETION: dict[str, tuple[tuple[object, ...], str]] = {
    "suffix": (("",), "filling in the middle is not supported: remove it"),
}
_STORED = "answers are not stored: send the whole conversation in 'input'"
RESPONSES_UNSUPPORTED: dict[str, tuple[tuple[object, ...], str]] = {
    "previous_response_id": ((), _STORED),
    "conversation": ((), _STORED),
    "prompt": ((), "prompts are not stored: send the text in 'input'"),
    "background": (_OFF, "answers are not stored: remove it and wait for the answer, or stream it"),
    "include": (([],), "there is nothing more to include: remove it"),
    "reasoning": (({}, {"effort": "none"}), "it is not supported: remove it"),
    "truncation": (("disabled",), "a conversation is never cut: remove it and shorten 'input'"),
    "service_tier": _COMMON["service_tier"],
    "max_tool_calls": ((), "no tool is called here: remove it"),
    "top_logprobs": (_ZERO, "log-probabilities are not reported here: use /v1/chat/completions"),
    "context_management": (([],), "a conversation is never cut: remove it"),
    "prompt_cache_retention": ((), "it is not supported: remove it"),
}
CHAT_UNSUPPORTED = _COMMON | _CHAT
COMPLETION_UNSUPPORTED = _COMMON | _COMPLETION


def refuse_unsupported(fields: Fields, table: dict[str, tuple[tuple[object, ...], str]]) -> None:
    """Raise InvalidRequest for a field of `table` that has any value but null or a neutral one."""
    if not fields.has_any(table.keys()):
        return
    for field, (neutral, remedy) in table.items():
        value = fields.get(field)
        if value is None or any(value == n and isinstance(value, bool) == isinstance(n, bool) for n in neutral):
            continue
        raise InvalidRequest(f"{field!r} is {describe(value)}: {remedy}.", field, "unsupported_field")
