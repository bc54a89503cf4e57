"""Chat completions that may call tools: the answer as one object or as chunks."""

from __future__ import annotations

from typing import Any

import orjson

from orchestrator.core.sampling import Finish
from orchestrator.frontend.http.answer import Identity
from orchestrator.frontend.http.server import ApiError
from orchestrator.frontend.text import Piece, TextToken
from orchestrator.frontend.text.calls import CallArguments, CallBegun, CallReader, Event, Said


class ToolAnswer:
    """Renders one chat completion whose output `reader` splits into text and calls. One that calls ends with `tool_calls`."""

    def __init__(self, identity: Identity, reader: CallReader, include_usage: bool, index: int = 0) -> None:
        self._identity = identity
        self._reader = reader
        self._include_usage = include_usage
        self._index = index
        self._called = False
        head = orjson.dumps(identity.head("chatcmpl", "chat.completion.chunk"))[:-1]
        self._open = b'data: %b,"choices":[{"index":%d,"delta":' % (head, index)
        self._close = b',"usage":null}\n\n' if include_usage else b"}\n\n"
        self.frame: tuple[bytes, bytes] | None = None

    def chunk(self, piece: Piece, first: bool) -> bytes:
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None}] if first else []
        deltas += [self._delta(found) for found in self._reader.push(piece.text)]
        if piece.finish is None:
            return b"".join([self._chunk(delta, None) for delta in deltas])
        deltas += [self._delta(found) for found in self._reader.finish()]
        chunks = [self._chunk(delta, None) for delta in deltas]
        return b"".join(chunks) + self._chunk({}, self._finish(piece.finish))

    def last(self, usage: dict[str, Any]) -> bytes:
        return self._identity.last("chatcmpl", "chat.completion.chunk", usage if self._include_usage else None)

    def failure(self, error: ApiError) -> bytes:
        return error.event()

    def whole(self, text: str, tokens: list[TextToken], finish: Finish, usage: dict[str, Any]) -> dict[str, Any]:
        return self.body([self.choice(text, tokens, finish)], usage)

    def choice(self, text: str, tokens: list[TextToken], finish: Finish) -> dict[str, Any]:
        """One of `choices`."""
        content, calls = "", list[dict[str, Any]]()
        for found in (*self._reader.push(text), *self._reader.finish()):
            match found:
                case Said(said):
                    content += said
                case CallBegun(index, name):
                    self._called = True
                    function = {"name": name, "arguments": ""}
                    calls.append({"id": self._call_id(index), "type": "function", "function": function})
                case CallArguments(_, arguments):
                    calls[-1]["function"]["arguments"] += arguments
        message: dict[str, Any] = {"role": "assistant", "content": content or None, "refusal": None}
        if calls:
            message["tool_calls"] = calls
        return {"index": self._index, "message": message, "logprobs": None, "finish_reason": self._finish(finish)}

    def body(self, choices: list[dict[str, Any]], usage: dict[str, Any]) -> dict[str, Any]:
        """The answer with these choices."""
        return self._identity.head("chatcmpl", "chat.completion") | {"choices": choices, "usage": usage}

    def annotate(self, body: dict[str, Any], prompt_logprobs: list[list[Any]]) -> None:
        """Add the prompt's log-probabilities."""
        body["prompt_logprobs"] = prompt_logprobs[0]

    def _delta(self, found: Event) -> dict[str, Any]:
        match found:
            case Said(said):
                return {"content": said}
            case CallBegun(index, name):
                self._called = True
                function = {"name": name, "arguments": ""}
                call = {"index": index, "id": self._call_id(index), "type": "function", "function": function}
                return {"tool_calls": [call]}
            case CallArguments(index, arguments):
                return {"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}

    def _chunk(self, delta: dict[str, Any], finish: str | None) -> bytes:
        told = orjson.dumps(delta), orjson.dumps(finish)
        return b'%b%b,"logprobs":null,"finish_reason":%b}]%b' % (self._open, *told, self._close)

    def _finish(self, finish: Finish) -> str:
        return "tool_calls" if self._called and finish is Finish.STOP else finish.value

    def _call_id(self, index: int) -> str:
        """Unique within a cluster, as the request's id is."""
        return f"call_{self._identity.request_id}_{self._index}_{index}"
