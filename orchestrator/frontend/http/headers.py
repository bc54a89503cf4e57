"""Request headers: service level."""

from __future__ import annotations

import math

from orchestrator.core.quote import quoted
from orchestrator.frontend.http.errors import ApiError
from orchestrator.frontend.http.server import Headers
from orchestrator.frontend.http.server.request import new_request_id, valid_request_id
from orchestrator.frontend.tiers import Tiers, UnknownTier

__all__ = ["TIER_HEADER", "new_request_id", "slo_s", "tier", "valid_request_id"]

TIER_HEADER = "x-llm-d-inference-objective"
_TTFT_HEADERS = ("x-llm-d-slo-ttft-ms", "x-slo-ttft-ms")
_TPOT_HEADERS = ("x-llm-d-slo-tpot-ms", "x-slo-tpot-ms")


def slo_s(headers: Headers) -> tuple[float | None, float | None]:
    """TTFT and TPOT goals in seconds, None where the tier decides; raises ApiError 400."""
    return _goal_s(headers, _TTFT_HEADERS), _goal_s(headers, _TPOT_HEADERS)


def tier(headers: Headers, tiers: Tiers) -> str:
    """The tier that the client chose, or the default; raises ApiError 400 for one that the cluster does not have."""
    chosen = headers.get(TIER_HEADER)
    try:
        return tiers.choose(chosen)
    except UnknownTier as known:
        text = f"There is no tier {quoted(chosen or '')}: use one of {known} in {TIER_HEADER}."
        raise ApiError(400, text, "unknown_tier", TIER_HEADER) from None


def _goal_s(headers: Headers, names: tuple[str, ...]) -> float | None:
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
                400,
                f"Header {name} is {quoted(text)}: send milliseconds above 0, such as 250.",
                "invalid_header",
                name,
            )
        return value_ms / 1000
    return None
