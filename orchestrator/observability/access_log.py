"""One line per request that is over."""

from __future__ import annotations

import logging

from orchestrator.observability.ended_request import EndedRequest
from orchestrator.observability.logs import about

_log = logging.getLogger("tandem.access")


class AccessLog:
    """Call it with a record; writes at INFO, and never tokens or text."""

    def __call__(self, request: EndedRequest) -> None:
        if not _log.isEnabledFor(logging.INFO):
            return
        fields = {
            "outcome": str(request.state),
            "finish_reason": request.finish_reason,
            "tier": request.tier,
            "prompt_tokens": request.prompt_tokens,
            "output_tokens": request.output_tokens,
            "cached_tokens": request.cached_tokens,
            "ttft_ms": None if request.ttft_s is None else round(1e3 * request.ttft_s, 3),
            "e2e_ms": None if request.e2e_s is None else round(1e3 * request.e2e_s, 3),
            "prefill_worker": request.prefill_worker,
            "decode_worker": request.decode_worker,
        }
        if request.error:
            fields["error"] = request.error
        _log.info("request over", extra={**about(request), "fields": fields})
