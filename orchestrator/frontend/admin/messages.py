"""Store documents, worker statuses and request records as Admin messages."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.core.cluster import WorkerState
from orchestrator.core.config import PolicyInfo
from orchestrator.frontend.admin.difference import Difference
from orchestrator.frontend.admin.seams import Link
from orchestrator.frontend.records import RequestRecord
from orchestrator.state import Document
from pd.v1 import admin_pb2 as pb
from pd.v1 import worker_pb2 as worker_pb

STATUS_FIELDS = sorted(
    {f.name for f in worker_pb.WorkerStatus.DESCRIPTOR.fields} & set(pb.WorkerInfo.DESCRIPTOR.fields_by_name)
)
"""Load figures that a worker pushes and `WorkerInfo` repeats."""


def worker_state(desired: Document, endpoint: Document | None) -> WorkerState:
    """What a worker is, from what is wanted of it and what its host says."""
    if endpoint is None or endpoint["state"] == "starting":
        return WorkerState.STARTING
    if endpoint["state"] == "dead":
        return WorkerState.DEAD
    if desired.get("drained"):
        return WorkerState.DRAINED
    return WorkerState.DRAINING if desired.get("drain") else WorkerState.READY


def worker_info(desired: Document, endpoint: Document | None, link: Link | None) -> pb.WorkerInfo:
    """One worker. Load figures are zero until this front door has heard from it."""
    info = pb.WorkerInfo(
        name=desired["name"],
        pool=desired["pool"],
        role=desired["role"],
        state=str(worker_state(desired, endpoint)),
        restarting=bool(desired.get("restart")),
    )
    if endpoint is not None:
        info.pid = endpoint["pid"] if endpoint["state"] != "dead" else 0
        info.node = endpoint["node"]
        info.address = endpoint["address"]
        info.incarnation = endpoint["incarnation"]
        info.restarts = endpoint["restarts"]
        info.message = endpoint["message"]
        info.age_s = max(0.0, time.time() - endpoint["started_at"])
    if (desired.get("drain") or {}).get("exceeded") and info.state == WorkerState.DRAINING:
        info.message = "drain budget is over; finishing what runs"
    elif info.restarting and not info.message:
        info.message = "being restarted"
    elif (desired.get("drain") or {}).get("leaving"):
        info.message = "leaving: its pool wants fewer workers"
    status = link.status if link is not None and endpoint and link.incarnation == endpoint["incarnation"] else None
    if status is not None and endpoint and endpoint["state"] == "ready":
        for field in STATUS_FIELDS:
            setattr(info, field, getattr(status, field))
        if status.unusable_peers and not info.message:
            info.message = f"cannot pull KV from {', '.join(status.unusable_peers)}: see its log"
    return info


def request_info(record: RequestRecord, front_door: str) -> pb.RequestInfo:
    """One request. `age_s` counts from arrival, also after the end."""
    return pb.RequestInfo(
        request_id=record.request_id,
        state=str(record.state),
        attempt=record.attempt,
        prompt_tokens=record.prompt_tokens,
        output_tokens=record.output_tokens,
        max_tokens=record.max_tokens,
        prefill_worker=record.prefill_worker,
        decode_worker=record.decode_worker,
        co_located=record.co_located,
        tier=record.tier,
        age_s=max(0.0, time.time() - record.arrived_at),
        ttft_s=record.ttft_s,
        finish_reason=record.finish_reason,
        model=record.model,
        front_door=front_door,
    )


def request_detail(record: RequestRecord, front_door: str) -> pb.RequestDetail:
    """One request with its stages; a stage that lasts counts until now."""
    now_s = record.elapsed_s()
    stages = [
        pb.Stage(
            name=stage.name,
            worker=stage.worker,
            started_s=stage.started_s,
            seconds=stage.seconds if stage.seconds is not None else max(0.0, now_s - stage.started_s),
            reason=stage.reason,
            detail=stage.detail,
            attempt=stage.attempt,
        )
        for stage in record.stages
    ]
    return pb.RequestDetail(
        request=request_info(record, front_door),
        stages=stages,
        kv_bytes=record.kv_bytes,
        cached_tokens=record.cached_tokens,
        error=record.error,
        arrived_at=record.arrived_at,
    )


def pool_info(pool: Mapping[str, Any], workers: Sequence[pb.WorkerInfo]) -> pb.PoolInfo:
    """A pool of cluster.yaml (camelCase dict) and how many of its workers are ready."""
    return pb.PoolInfo(
        name=pool["name"],
        role=pool["role"],
        desired=pool["count"],
        ready=sum(w.pool == pool["name"] and w.state == WorkerState.READY for w in workers),
        hardware=pool.get("hardware", ""),
    )


def policy_info(decision: str, document: Document, available: Sequence[PolicyInfo]) -> pb.PolicyInfo:
    """The policy in force for a decision and those that could be."""
    choices = [
        pb.PolicyChoice(
            name=policy.name,
            description=policy.summary,
            parameters_json=json.dumps({p.name: p.default for p in policy.parameters}),
        )
        for policy in available
    ]
    return pb.PolicyInfo(
        decision=decision,
        name=document["name"],
        parameters_json=json.dumps(document["parameters"]),
        available=choices,
    )


def change_message(change: Difference) -> pb.Change:
    """A field that a new spec changes."""
    old, new = ("" if side is None else json.dumps(side) for side in (change.old, change.new))
    return pb.Change(path=change.path, old_json=old, new_json=new, effect=str(change.effect), note=change.note)


def event_message(sequence: int, event: Document) -> pb.Event:
    """An event of the store."""
    return pb.Event(
        sequence=sequence,
        at=event["at"],
        kind=event["kind"],
        object=event["object"],
        reason=event["reason"],
        message=event["message"],
    )
