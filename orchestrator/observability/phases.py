"""What the front door itself spends on a request, by phase."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """A label of `pd_router_overhead_seconds`, in the order in which a request meets them."""

    PARSE = "parse"  # bytes of the body to a checked request
    TOKENISE = "tokenise"  # template and tokeniser; next to nothing for prompts of token ids
    ROUTE = "route"  # both decisions of one attempt
    DISPATCH = "dispatch"  # decision made to message handed to the worker's connection
    FIRST_TOKEN = "first_token"  # first token read from the worker to its bytes handed to the client's connection
