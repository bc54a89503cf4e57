"""Request headers: identity and service level."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Mapping

from aiohttp import web

from orchestrator.frontend.http.errors import ApiError

REQUEST_ID = web.RequestKey("request_id", str)
REQUEST_ID_HEADER = "X-Request-Id"
TIER_HEADER = "x-llm-d-inference-objective"
_TTFT_HEADERS = ("x-llm-d-slo-ttft-ms", "x-slo-ttft-ms")
_TPOT_HEADERS = ("x-llm-d-slo-tpot-ms", "x-slo-tpot-ms")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def valid_request_id(value: str) -> bool:
    """Whether a client's request id can be used as it is: 1 to 128 letters, digits, dots, underscores, dashes."""
    return _REQUEST_ID.fullmatch(value) is not None


def new_request_id() -> str:
    return secrets.token_hex(12)


def request_id(headers: Mapping[str, str]) -> str:
    """The client's id if it is well formed, else a new one."""
    given = headers.get(REQUEST_ID_HEADER, "")
    return given if valid_request_id(given) else new_request_id()


def slo_s(headers: Mapping[str, str]) -> tuple[float | None, float | None]:
    """TTFT and TPOT goals in seconds, None where the tier decides; raises ApiError 400."""
    return _goal_s(headers, _TTFT_HEADERS), _goal_s(headers, _TPOT_HEADERS)


def tier(headers: Mapping[str, str], tiers: Mapping[str, object], default: str) -> str:
    """The tier that the client chose, or the default; raises ApiError 400 for one that the cluster does not have."""
    chosen = headers.get(TIER_HEADER)
    if chosen is None or chosen == default:
        return default
    if chosen not in tiers:
        known = ", ".join(sorted({default, *tiers}))
        raise ApiError(
            400, f"There is no tier {chosen!r}: use one of {known} in {TIER_HEADER}.", "unknown_tier", TIER_HEADER
        )
    return chosen


def _goal_s(headers: Mapping[str, str], names: tuple[str, ...]) -> float | None:
    for name in names:
        text = headers.get(name)
        if text is None:
            continue
        try:
            value_ms = float(text)
        except ValueError:
            value_ms = math.nan
        if not 0 < value_ms < math.inf:
            raise ApiError(
                400, f"Header {name} is {text!r}: send milliseconds above 0, such as 250.", "invalid_header", name
            )
        return value_ms / 1000
    return None
