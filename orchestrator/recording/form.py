"""Entries as JSON objects, one per line. A request is written when it is first decided on; later lines name its id."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np

from orchestrator.core.decisions import Admission, Placement, Reason
from orchestrator.core.exact import Json, decode, encode
from orchestrator.core.request import RequestState, RequestView
from orchestrator.core.snapshot import request_from_json, request_to_json, view_from_json, view_to_json
from orchestrator.recording.entries import Admitted, DecodePlaced, Entry, Header, PolicySet, PrefillPlaced, RequestEnded

ARRIVAL = "arrival"
MOST_OPEN = 100_000
"""Requests that a writer remembers. Some never end in the record, such as reservations of Router.Route."""


class LineWriter:
    """Lines for entries, in order. Remembers the requests that were written and have not ended."""

    def __init__(self) -> None:
        self._written: dict[str, RequestView] = {}

    def lines(self, entry: Header | Entry) -> str:
        """One line for `entry`, after one for each request that it is the first to name."""
        match entry:
            case Header():
                return _line("header", dataclasses.asdict(entry))
            case PolicySet():
                return _line("policy", {**dataclasses.asdict(entry), "parameters": encode(entry.parameters)})
            case PrefillPlaced():
                body = {"view": view_to_json(entry.view), "held_blocks": entry.held_blocks.tolist()}
                return self._decision("place_prefill", (entry.request,), body, _result(entry.result))
            case DecodePlaced():
                body = {"view": view_to_json(entry.view), "prefill_worker": entry.prefill_worker}
                return self._decision("place_decode", (entry.request,), body, _result(entry.result))
            case Admitted():
                numbers = ("running", "free_blocks", "block_tokens", "max_batch")
                body = {name: getattr(entry, name) for name in numbers}
                return self._decision("admit", entry.queue, body, _result(entry.result))
            case RequestEnded():
                self._written.pop(entry.request_id, None)
                fields = {f.name: getattr(entry, f.name) for f in dataclasses.fields(entry)}
                return _line("request", {**fields, "prefix_ids": list(entry.prefix_ids)})

    def _decision(self, kind: str, requests: tuple[RequestView, ...], body: Json, result: Json) -> str:
        first = [request for request in requests if self._written.get(request.request_id) is not request]
        for request in first:
            self._written[request.request_id] = request
            if len(self._written) > MOST_OPEN:
                # Written again should it still be decided on.
                del self._written[next(iter(self._written))]
        named = {"requests": [request.request_id for request in requests], **body, "result": result}
        return "".join(_line(ARRIVAL, request_to_json(request)) for request in first) + _line(kind, named)


class LineReader:
    """The entries of lines, in order; `read` raises ValueError, KeyError or TypeError for a line that no writer wrote."""

    def __init__(self) -> None:
        self._requests: dict[str, RequestView] = {}

    def read(self, line: str) -> Header | Entry | None:
        """None for a line that only introduces a request."""
        document = json.loads(line)
        match document.pop("kind"):
            case "header":
                return Header(**document)
            case "policy":
                return PolicySet(**{**document, "parameters": decode(document["parameters"])})
            case "arrival":
                request = request_from_json(document)
                self._requests[request.request_id] = request
                return None
            case "place_prefill":
                (request,), view = self._named(document), view_from_json(document["view"])
                held = np.array(document["held_blocks"], np.int64)
                return PrefillPlaced(request, view, held, _placement(document["result"]))
            case "place_decode":
                (request,), view = self._named(document), view_from_json(document["view"])
                return DecodePlaced(request, view, document["prefill_worker"], _placement(document["result"]))
            case "admit":
                queue, result = tuple(self._named(document)), _admission(document.pop("result"))
                del document["requests"]
                return Admitted(queue, **document, result=result)
            case "request":
                document["state"] = RequestState(document["state"])
                document["prefix_ids"] = tuple(document["prefix_ids"])
                self._requests.pop(document["request_id"], None)
                return RequestEnded(**document)
            case other:
                raise ValueError(f"unknown kind {other!r}")

    def _named(self, document: Json) -> list[RequestView]:
        return [self._requests[request_id] for request_id in document["requests"]]


def _line(kind: str, body: dict[str, Any]) -> str:
    return json.dumps({"kind": kind, **body}, separators=(",", ":"), allow_nan=False) + "\n"


def _result(result: Placement | Admission) -> Json:
    fields = {f.name: getattr(result, f.name) for f in dataclasses.fields(result)}
    return {
        name: value.value if isinstance(value, Reason) else list(value) if name == "admit" else encode(value)
        for name, value in fields.items()
    }


def _placement(document: Json) -> Placement:
    return Placement(**{**decode(document), "reason": Reason(document["reason"])})


def _admission(document: Json) -> Admission:
    return Admission(**{**decode(document), "admit": tuple(document["admit"]), "reason": Reason(document["reason"])})
