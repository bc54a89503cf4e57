"""What an answer to a bad request must be like."""

from __future__ import annotations

import json
import re

from tests.fuzz.share import ANSWERS
from tests.fuzz.wire import Answer

ALLOWED = frozenset({501, 503, 505})
"""Statuses from 500 on that a client's mistake may have: not served here, too much at once, another version of HTTP."""
MOST_QUOTED_CHARS = 200
MOST_CHARS = 1500
_TRACE = re.compile(r"Traceback|File \"|\.py\b|<[a-z_.]+ object at 0x")


def check_answer(answer: Answer, sent: bytes, method: str = "POST") -> None:
    """2xx with a body of its type, or the envelope of OpenAI with a status of the client's mistake."""
    ANSWERS[str(answer.status)] += 1
    kind = answer.headers.get("content-type", "")
    assert answer.headers.get("x-request-id"), answer
    if 200 <= answer.status < 300:
        if method != "HEAD" and kind.startswith("application/json"):
            json.loads(answer.body)
        elif kind.startswith("text/event-stream"):
            assert answer.body.endswith(b"\n\n"), answer
        return
    assert 400 <= answer.status < 500 or answer.status in ALLOWED, answer
    if method == "HEAD":
        return
    document = json.loads(answer.body)
    assert set(document) == {"error"}, answer
    error = document["error"]
    assert set(error) == {"message", "type", "param", "code"}, answer
    assert isinstance(error["message"], str) and error["message"].strip(), answer
    assert error["type"] and error["code"], answer
    assert error["param"] is None or (isinstance(error["param"], str) and len(error["param"]) <= MOST_QUOTED_CHARS), (
        answer
    )
    check_message(error["message"], sent)


def check_message(message: str, sent: bytes) -> None:
    """Short, without a stack trace, and without a long piece of what was sent."""
    assert len(message) <= MOST_CHARS, (len(message), message[:300])
    assert not _TRACE.search(message), message
    for start in range(len(message) - MOST_QUOTED_CHARS):
        piece = message[start : start + MOST_QUOTED_CHARS + 1]
        assert len(set(piece)) > 1 and piece.encode("utf-8", "replace") not in sent, (
            f"{message[:300]!r} quotes too much"
        )
