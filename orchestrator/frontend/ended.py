"""A request that is over, as a record of decisions keeps it."""

from __future__ import annotations

from orchestrator.frontend.flight import Flight
from orchestrator.recording.entries import RequestEnded
from orchestrator.workload.trace import PREFIX_BLOCK_TOKENS


def ended(flight: Flight, block_tokens: int) -> RequestEnded:
    """Lengths, times and block hashes; never tokens or text."""
    view, record = flight.view, flight.record
    # Hashes are chained: that of a prefix block's last KV block names all text up to its end.
    step = max(1, PREFIX_BLOCK_TOKENS // block_tokens)
    return RequestEnded(
        request_id=flight.request_id,
        tier=record.tier,
        state=record.state,
        arrival_s=view.arrival_s,
        input_tokens=view.prompt_tokens,
        output_tokens=record.output_tokens,
        ttft_s=record.ttft_s,
        e2e_s=record.e2e_s,
        prefix_ids=tuple(view.block_hashes[step - 1 :: step].tolist()),
    )
