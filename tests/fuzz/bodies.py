"""Bodies of POST requests: valid ones, and what becomes of them when they are mutated at any path."""

from __future__ import annotations

import copy
import gzip
import zlib
from typing import Any

from hypothesis import strategies as st

from tests.frontend.conftest import MODEL
from tests.fuzz.values import ODD, Raw, encode

MESSAGES = [{"role": "system", "content": "be brief"}, {"role": "user", "content": [{"type": "text", "text": "hi"}]}]
TOOL = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}},
}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
RICH = {
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 4,
    "seed": 3,
    "stop": ["x"],
    "stop_token_ids": [3],
    "max_tokens": 3,
    "ignore_eos": True,
}
SCHEMA = {"name": "a", "schema": {"type": "object", "properties": {"b": {"type": "string"}}}, "strict": True}
CHAT: list[dict[str, Any]] = [
    {"model": MODEL, "messages": MESSAGES, "max_tokens": 3},
    {"model": MODEL, "messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}, **RICH},
    {"model": MODEL, "messages": MESSAGES, "logprobs": True, "top_logprobs": 2, "n": 2, "user": "me", "metadata": {"a": "b"}},
    {"model": MODEL, "messages": MESSAGES, "response_format": {"type": "json_schema", "json_schema": SCHEMA}, "max_tokens": 3},
    {"model": MODEL, "messages": MESSAGES, "tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
    {
        "model": MODEL,
        "messages": [
            *MESSAGES,
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c", "content": "1"},
        ],
        "tools": [TOOL],
        "tool_choice": "auto",
    },
]  # fmt: skip
COMPLETION: list[dict[str, Any]] = [
    {"model": MODEL, "prompt": "count", "max_tokens": 3},
    {"model": MODEL, "prompt": [5, 6, 7], "stream": True, "stream_options": {"include_usage": True}, **RICH},
    {"model": MODEL, "prompt": ["a", "b"], "n": 2, "echo": True, "logprobs": 2, "prompt_logprobs": 1},
    {"model": MODEL, "prompt": [[5, 6], [7]], "structured_outputs": {"regex": "[0-9]+"}},
    {"model": MODEL, "prompt": "a", "structured_outputs": {"choice": ["a", "b"]}, "best_of": 1},
]
RESPONSES: list[dict[str, Any]] = [
    {"model": MODEL, "input": "hi", "max_output_tokens": 3, "store": False},
    {
        "model": MODEL,
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
        "instructions": "be brief",
        "stream": True,
        "text": {"format": {"type": "text"}},
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
        "tool_choice": "auto",
    },
    {"model": MODEL, "input": "hi", "metadata": {"a": "b"}, "temperature": 0.5, "top_p": 0.5, "user": "me", "parallel_tool_calls": True},
    {"model": MODEL, "input": "hi", "text": {"format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}}}, "stream": True},
]  # fmt: skip
TOKENS: list[dict[str, Any]] = [
    {"model": MODEL, "prompt": "hi", "add_special_tokens": False, "return_token_strs": True},
    {"model": MODEL, "messages": MESSAGES, "add_generation_prompt": True},
    {"model": MODEL, "tokens": [5, 6, 7]},
]
VALID = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": COMPLETION,
    "/v1/responses": RESPONSES,
    "/tokenize": TOKENS,
    "/detokenize": TOKENS,
    "/v1/embeddings": [{"model": MODEL, "input": "hi"}, {"model": MODEL, "input": ["a", "b"], "dimensions": 3}],
}
WEIGHT = 8
"""How much oftener an endpoint of `VALID` is asked than one that is not served."""
ANY = [*CHAT[:1], *COMPLETION[:1], *RESPONSES[:1], *TOKENS]
"""For endpoints that have no entry of their own."""
FIELDS = sorted(
    {
        "frequency_penalty", "presence_penalty", "repetition_penalty", "logit_bias", "min_p", "min_tokens",
        "use_beam_search",
        "response_format", "structured_outputs", "guided_json", "guided_regex", "service_tier", "functions",
        "function_call",
        "parallel_tool_calls", "modalities", "audio", "store", "reasoning_effort", "chat_template", "suffix", "best_of",
        "echo",
        "max_completion_tokens", "max_output_tokens", "previous_response_id", "background", "truncation", "include",
        "reasoning",
        "encoding_format", "dimensions", "safety_identifier", "prompt_cache_key", "name", "refusal", "tool_call_id",
        "priority",
    }
    | {field for bodies in VALID.values() for body in bodies for field in body}
)  # fmt: skip
ODD_KEYS = [
    "", "model ", "MODEL", "messages[0]", "__proto__", "\u0000", "é" * 50, "x" * 300, "x" * 100_000, "max_token",
    "m\u043edel", "a.b",
    Raw(b'"\\ud800"'), Raw(b'"\\udfffx"'), Raw(b"model"), Raw(b"1"), Raw(b'"model"'), Raw(b'"stream"'),
    Raw(b'"messages"'),
]  # fmt: skip


def endpoints(posts: list[str]) -> st.SearchStrategy[str]:
    """One of the paths `posts`."""
    return st.sampled_from([path for path in posts for _ in range(WEIGHT if path in VALID else 1)])


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where values lie in `value`, itself included."""
    found = [here]
    if isinstance(value, dict):
        found += [path for key, item in value.items() for path in paths(item, (*here, key))]
    elif isinstance(value, list):
        found += [path for i, item in enumerate(value) for path in paths(item, (*here, i))]
    return found


@st.composite
def mutated(draw: st.DrawFn, path: str) -> bytes:
    """A body for `path` with one to three things wrong."""
    body: Any = copy.deepcopy(draw(st.sampled_from(VALID.get(path, ANY))))
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        where = draw(st.sampled_from(paths(body)))
        how = draw(
            st.sampled_from(["replace", "replace", "replace", "field", "field", "odd key", "remove", "repeat", "wrap"])
        )
        if not where:
            body = _whole(draw, body, how)
            continue
        parent = body
        for key in where[:-1]:
            parent = parent[key]
        last = where[-1]
        if how == "replace":
            parent[last] = draw(ODD)
        elif how == "remove":
            del parent[last]
        elif how == "repeat":
            parent[last] = [parent[last]] * draw(st.sampled_from([2, 40, 1500]))
        elif how == "wrap":
            parent[last] = draw(st.sampled_from([[parent[last]], {"a": parent[last]}]))
        elif isinstance(parent[last], dict):
            parent[last][draw(st.sampled_from(FIELDS if how == "field" else ODD_KEYS))] = draw(ODD)
        else:
            _whole(draw, body, how)
    return encode(body)


def _whole(draw: st.DrawFn, body: Any, how: str) -> Any:
    """Change the body itself."""
    if isinstance(body, dict) and how in ("field", "odd key", "repeat"):
        body[draw(st.sampled_from(ODD_KEYS if how == "odd key" else FIELDS))] = draw(ODD)
        return body
    return draw(ODD) if how == "replace" else [body] if how == "wrap" else body


TYPES = [
    "application/json", "application/json; charset=utf-8", "application/json; charset=utf-16", "text/json",
    "APPLICATION/JSON", "text/plain",
    "multipart/form-data", "application/x-www-form-urlencoded", "", ";", "application/json, text/plain",
    "application/" + "x" * 4000, "\x80\xff",
]  # fmt: skip
CODINGS = [None, None, "gzip", "deflate", "br", "identity", "gzip, gzip", "x" * 1000]


@st.composite
def spoilt(draw: st.DrawFn, path: str) -> tuple[bytes, str, str | None]:
    """A body that is no JSON or is not sent as such: the bytes, their Content-Type and Content-Encoding."""
    good = encode(draw(st.sampled_from(VALID.get(path, ANY))))
    at = draw(st.integers(0, len(good)))
    noise = draw(st.binary(max_size=12))
    body = draw(
        st.sampled_from(
            [
                good[:at],
                good[:at] + noise + good[at:],
                noise,
                noise * 2000,
                b"\xef\xbb\xbf" + good,
                good.decode().encode("utf-16"),
                good.decode().encode("utf-32-le"),
                gzip.compress(good, mtime=0),
                zlib.compress(b"a" * 5_000_000),
                good + good,
                good + b"\x00",
                good.replace(b'"', b"'"),
                good.replace(b":", b"="),
                good.replace(b"}", b",}"),
                b"// hi\n" + good,
                b"model=tiny&prompt=hi",
                b" " * 100_000,
                b"",
                b'"' + good.replace(b'"', b'\\"') + b'"',
                good.replace(b"{", b'{"model":"other",', 1),
                b"\xc0\x80" + good,
                good.replace(b"i", b"\xf0\x28\x8c\x28"),
                b"a" * ((1 << 20) + 1),
            ]
        )
    )
    plain = draw(st.booleans())
    return body, TYPES[0] if plain else draw(st.sampled_from(TYPES)), None if plain else draw(st.sampled_from(CODINGS))
