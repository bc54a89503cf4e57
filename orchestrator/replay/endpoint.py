"""What an endpoint says of itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import aiohttp

from orchestrator.workload.trace import TraceError

TIMEOUT_S = 10.0


class EndpointError(TraceError):
    """An endpoint that cannot be loaded: it does not answer, or not as an OpenAI-compatible server does."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI-compatible server. `max_model_tokens` and `vocab_size` are None where it does not tell."""

    base_url: str
    model: str
    max_model_tokens: int | None
    vocab_size: int | None


def base_of(url: str) -> str:
    """`url` without a trailing slash or `/v1`; raises EndpointError if it is no HTTP URL."""
    if not url.startswith(("http://", "https://")):
        raise EndpointError(f"{url!r} is no HTTP URL", "--url", "give for example http://127.0.0.1:8000")
    return url.rstrip("/").removesuffix("/v1")


async def discover(session: aiohttp.ClientSession, url: str, model: str | None = None) -> Endpoint:
    """Ask `GET /v1/models`; take `model` or the first one. Raises EndpointError."""
    base = base_of(url)
    where = f"{base}/v1/models"
    try:
        async with session.get(where, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as response:
            body = await response.text()
            status = response.status
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise EndpointError(
            f"the endpoint does not answer: {reason}", where, "check --url, or run `pdctl up`"
        ) from error
    if status in (401, 403):
        raise EndpointError(f"the endpoint wants an API key (HTTP {status})", where, "set TANDEM_API_KEY")
    if status != 200:
        raise EndpointError(f"the endpoint answered HTTP {status}", where, "is it an OpenAI-compatible server?")
    cards = _cards(body, where)
    names = [str(card.get("id")) for card in cards]
    if model is not None and model not in names:
        raise EndpointError(f"no model {model!r}", where, f"use one of: {', '.join(names)}")
    card = cards[names.index(model)] if model is not None else cards[0]
    return Endpoint(base, str(card["id"]), _count(card.get("max_model_len")), _count(card.get("vocab_size")))


def _cards(body: str, where: str) -> list[dict[str, Any]]:
    try:
        cards = json.loads(body)["data"]
    except (ValueError, KeyError, TypeError):
        cards = None
    if not isinstance(cards, list) or not cards or not all(isinstance(c, dict) and "id" in c for c in cards):
        raise EndpointError("the endpoint lists no models", where, "is it an OpenAI-compatible server?")
    return cards


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
