"""What a run of load did to a cluster, seen from its counters before and after."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.cli.connection import Client
from orchestrator.cli.documents import Document
from orchestrator.cli.get.listing import EVERYTHING, items_of
from orchestrator.report.document import Kv

SETTLE_S = 3.0
POLL_S = 0.25
COUNTED = (
    "prompt_tokens",
    "cached_prompt_tokens",
    "generated_tokens",
    "kv_bytes_pulled",
    "kv_pulls",
    "preemptions",
    "lease_expiries",
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Workers by name, as `pdctl get workers` shows them."""

    workers: dict[str, Document]


def snapshot(client: Client) -> Snapshot:
    """The counters now."""
    from pd.v1.admin_pb2 import ListWorkersRequest

    items = items_of(client.admin.ListWorkers(ListWorkersRequest()))
    return Snapshot({w["name"]: w for w in items})


def settled(client: Client) -> Snapshot:
    """The counters once they stand still and nothing runs, or after `SETTLE_S`: workers push them with a delay."""
    deadline = time.monotonic() + SETTLE_S
    last = snapshot(client)
    while time.monotonic() < deadline:
        time.sleep(POLL_S)
        now = snapshot(client)
        if _counts(now) == _counts(last) and not any(w["running"] or w["waiting"] for w in now.workers.values()):
            return now
        last = now
    return last


def _counts(shot: Snapshot) -> dict[str, list[int]]:
    return {name: [w[f] for f in COUNTED] for name, w in shot.workers.items()}


def worker_rows(before: Snapshot, after: Snapshot, requests: Sequence[Document]) -> list[dict[str, Any]]:
    """A row per worker: what it is, what it counted meanwhile, and how many of `requests` it prefilled and decoded."""
    prefills = Counter(r["prefill_worker"] for r in requests)
    decodes = Counter(r["decode_worker"] or r["prefill_worker"] for r in requests)
    return [
        {
            **{field: worker[field] for field in ("name", "pool", "role", "state", "pid")},
            "prefill_requests": prefills[name],
            "decode_requests": decodes[name],
            **{field: _delta(before.workers.get(name), worker, field) for field in COUNTED},
        }
        for name, worker in after.workers.items()
    ]


def _delta(old: Document | None, new: Document, field: str) -> int:
    # A restarted engine counts from zero.
    restarted = old is None or old["incarnation"] != new["incarnation"]
    return int(new[field] if restarted or old is None else new[field] - old[field])


def kv_of(rows: Sequence[dict[str, Any]]) -> Kv:
    """Sums over workers. Nobody counts migrations here."""
    return Kv(
        bytes_moved=sum(r["kv_bytes_pulled"] for r in rows),
        transfers=sum(r["kv_pulls"] for r in rows),
        preemptions=sum(r["preemptions"] for r in rows),
        lease_expiries=sum(r["lease_expiries"] for r in rows),
    )


def requests_named(client: Client, prefix: str) -> list[Document]:
    """The requests that the front door remembers whose ids begin with `prefix`."""
    from pd.v1.admin_pb2 import ListRequestsRequest

    items = items_of(client.admin.ListRequests(ListRequestsRequest(limit=EVERYTHING)))
    return [r for r in items if r["request_id"].startswith(prefix)]
