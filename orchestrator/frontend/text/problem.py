"""A request that cannot be understood, in the words of both APIs."""

from __future__ import annotations


class InvalidRequest(Exception):
    """A refused request: HTTP 400 or INVALID_ARGUMENT.

    `message` says what is wrong and what to send instead; `param` names the field; `code` is a stable word for programs.
    """

    def __init__(self, message: str, param: str | None = None, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
