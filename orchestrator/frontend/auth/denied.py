"""A call that its caller may not make."""

from __future__ import annotations

NO_KEY = "A valid API key is needed: send 'Authorization: Bearer KEY' (pdctl: set TANDEM_API_KEY)."
NOT_OPERATOR = "The key of {name} has the role user, and this takes an operator's: use another key, or change its role."


class Denied(Exception):
    """`known` is False where nobody could be made out (401, UNAUTHENTICATED), True for a role that may not (403)."""

    def __init__(self, message: str, known: bool) -> None:
        super().__init__(message)
        self.message = message
        self.known = known


def no_key() -> Denied:
    """No key, or none of ours: which of the two is nobody's business."""
    return Denied(NO_KEY, known=False)


def not_operator(name: str) -> Denied:
    return Denied(NOT_OPERATOR.format(name=name), known=True)
