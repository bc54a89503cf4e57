"""Responses: the answer as one object or as events."""

from __future__ import annotations

from typing import Any

import orjson

from orchestrator.core.sampling import Finish
from orchestrator.frontend.http.answer import Identity
from orchestrator.frontend.http.responses_output import ResponseOutput, Told
from orchestrator.frontend.http.server import ApiError
from orchestrator.frontend.text import Piece, TextToken
from orchestrator.frontend.text.calls import CallReader, TextReader

_DELTA = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","sequence_number":'
_NEVER: dict[str, Any] = {
    "background": False,
    "max_tool_calls": None,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "service_tier": "default",
    "store": False,
    "top_logprobs": 0,
    "truncation": "disabled",
}


class ResponsesAnswer:
    """Renders one response whose output `reader` splits into text and calls. `repeated` are the request's own fields."""

    def __init__(self, identity: Identity, reader: CallReader, repeated: dict[str, Any]) -> None:
        self._identity = identity
        self._reader = reader
        self._repeated = repeated
        self._output = ResponseOutput(identity.request_id)
        self._finish: Finish | None = None
        self._events = 0
        self._where = b""  # of the one message that a plain answer has, without its braces
        self.frame: tuple[bytes, bytes] | None = None

    def chunk(self, piece: Piece, first: bool) -> bytes:
        if self._output.speaking and piece.finish is None and self._reader.__class__ is TextReader:
            return self._more(piece.text)
        told: list[Told] = []
        if first:
            begun = self._response("in_progress", None)
            told += [("created", {"response": begun}), ("in_progress", {"response": begun})]
        told += self._read(piece.text)
        if piece.finish is not None:
            self._finish = piece.finish
            told += self._end()
        return b"".join([self._event(*one) for one in told])

    def _more(self, text: str) -> bytes:
        """The usual event: more text of the open message, and nothing but text can come."""
        if not text:
            return b""
        self._output.add(text)
        if not self._where:
            where = self._output.where() | {"content_index": 0}
            self._where = orjson.dumps(where)[1:-1]
        self._events += 1
        return b'%b%d,%b,"delta":%b,"logprobs":[]}\n\n' % (_DELTA, self._events - 1, self._where, orjson.dumps(text))

    def last(self, usage: dict[str, Any]) -> bytes:
        status = self._status()
        return self._event(status, {"response": self._response(status, usage)})

    def failure(self, error: ApiError) -> bytes:
        response = self._response("failed", None)
        response["error"] = {"code": "server_error", "message": error.message}
        return self._event("failed", {"response": response})

    def whole(self, text: str, tokens: list[TextToken], finish: Finish, usage: dict[str, Any]) -> dict[str, Any]:
        self._finish = finish
        self._read(text)
        self._end()
        return self._response(self._status(), usage)

    def _read(self, text: str) -> list[Told]:
        return [told for event in self._reader.push(text) for told in self._output.take(event)]

    def _end(self) -> list[Told]:
        rest = [told for event in self._reader.finish() for told in self._output.take(event)]
        return [*rest, *self._output.finish(self._finish is Finish.STOP)]

    def _status(self) -> str:
        return "completed" if self._finish is Finish.STOP else "incomplete"

    def _event(self, kind: str, fields: dict[str, Any]) -> bytes:
        name = f"response.{kind}"
        value = {"type": name, "sequence_number": self._events, **fields}
        self._events += 1
        return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(value))

    def _response(self, status: str, usage: dict[str, Any] | None) -> dict[str, Any]:
        identity = self._identity
        return {
            "id": f"resp_{identity.request_id}",
            "object": "response",
            "created_at": identity.created_s,
            "model": identity.model,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "output": list(self._output.items),
            "usage": None if usage is None else _usage(usage),
            **_NEVER,
            **self._repeated,
        }


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    """A chat's `usage` in the words of this API."""
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": usage["prompt_tokens_details"],
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage["total_tokens"],
    }
