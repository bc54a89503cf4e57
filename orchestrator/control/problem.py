"""Why a cluster does not start or stop, and what to do about it."""

from __future__ import annotations


class StartError(Exception):
    """What is wrong, and the remedy."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message}; {remedy}")
        self.message = message
        self.remedy = remedy
