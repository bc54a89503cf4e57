"""What people call a request: its id, or the `id` of the answer that they got."""

from __future__ import annotations

from collections.abc import Iterator

PREFIXES = ("chatcmpl-", "cmpl-", "resp_")
"""What answers put before the request's id."""


def request_ids(name: str) -> Iterator[str]:
    """Ids that `name` may stand for, the likeliest first. Of an answer with several choices it is the first one's, `…-0`."""
    names = [name, *(name.removeprefix(prefix) for prefix in PREFIXES if name.startswith(prefix))]
    yield from names
    for one in names:
        yield f"{one}-0"
