"""Router.Route: decide and reserve for people who bring their own data path."""

from __future__ import annotations

import asyncio
import time
import uuid

from orchestrator.core.cluster import Role
from orchestrator.core.decisions import Placement
from orchestrator.core.hashing import block_hashes
from orchestrator.core.quote import quoted
from orchestrator.core.request import RequestView
from orchestrator.frontend.dispatcher import Dispatcher
from orchestrator.frontend.dispatchers import Dispatchers
from orchestrator.frontend.http.headers import valid_request_id
from orchestrator.frontend.service import Cause, ServiceError
from pd.v1 import routing_pb2 as pb

HOLD_S = 30.0
HOLD_MOST_S = 600.0


class Reservations:
    """Load counted in the ledger under `route:ID` until `release` or until its time is over."""

    def __init__(self, dispatchers: Dispatchers) -> None:
        self._dispatchers = dispatchers
        self._held: dict[str, tuple[asyncio.TimerHandle, Dispatcher]] = {}

    def route(self, request: pb.RouteRequest) -> pb.RouteReply:
        """Raises ServiceError INVALID, DUPLICATE or NO_CAPACITY."""
        chosen = self._dispatchers.of(request.model)
        if chosen is None:
            known = ", ".join(repr(one.model.name) for one in self._dispatchers)
            raise ServiceError(Cause.INVALID, f"there is no model {quoted(request.model)}; use {known}")
        dispatcher, router = chosen, chosen.router
        tokens = list(request.token_ids.ids)
        length = len(tokens) if request.WhichOneof("input") == "token_ids" else request.prompt_tokens
        hold_s = request.hold_s or HOLD_S
        if not 0 < length < dispatcher.model.max_model_len:
            limit = dispatcher.model.max_model_len - 1
            raise ServiceError(Cause.INVALID, f"prompt_tokens is {length}; give 1 to {limit}, or token_ids")
        if not 0 < hold_s <= HOLD_MOST_S:
            raise ServiceError(Cause.INVALID, f"hold_s is {hold_s:g}; give more than 0 and at most {HOLD_MOST_S:g}")
        request_id = request.request_id or uuid.uuid4().hex
        if not valid_request_id(request_id):
            problem = "request_id is malformed; give 1 to 128 letters, digits, '-', '_', '.', or leave it empty"
            raise ServiceError(Cause.INVALID, problem)
        if request_id in self._held:
            raise ServiceError(Cause.DUPLICATE, f"{request_id} is already reserved; Release it first")
        view = RequestView(
            f"route:{request_id}",
            length,
            request.max_tokens,
            time.monotonic(),
            tier=request.slo.tier or "default",
            block_hashes=block_hashes(tokens, router.block_tokens()),
        )
        prefill = router.place_prefill(view)
        decode = prefill
        if prefill.worker is not None and not prefill.co_locate:
            decode = router.place_decode(view, prefill.worker)
        if prefill.worker is None or decode.worker is None:
            raise ServiceError(Cause.NO_CAPACITY, "no worker can take it now; look at `pdctl get workers`", 1.0)
        names = router.view.names
        router.account(view, names[prefill.worker], Role.PREFILL)
        router.account(view, names[decode.worker], Role.DECODE)
        timer = asyncio.get_running_loop().call_later(hold_s, self.release, request_id)
        self._held[request_id] = (timer, dispatcher)
        return pb.RouteReply(
            request_id=request_id,
            prefill=_target(dispatcher, prefill),
            decode=_target(dispatcher, decode),
            co_located=prefill.worker == decode.worker,
            expires_in_s=hold_s,
        )

    def release(self, request_id: str) -> bool:
        """Stop counting a reservation; False if there is none."""
        held = self._held.pop(request_id, None)
        if held is None:
            return False
        timer, dispatcher = held
        timer.cancel()
        dispatcher.router.settle(f"route:{request_id}")
        dispatcher.pump()
        return True


def _target(dispatcher: Dispatcher, placement: Placement) -> pb.Target:
    assert placement.worker is not None
    name = dispatcher.router.view.names[placement.worker]
    address = dispatcher.workers[name].address
    return pb.Target(worker=name, address=address, reason=placement.reason, detail=placement.detail)
