"""Between wire messages and the engine's types."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from orchestrator.core.sampling import Sampling
from pd.v1 import worker_pb2 as pb
from workers.engine.base import Emission, EngineRequest, EngineStats, Key, KvBlocks, Phase, PullResult


def key_from(front_door: str, message: pb.Key) -> Key:
    """Two front doors may use one request id: the engine's key names the front door first."""
    return Key(f"{front_door}/{message.request_id}", message.attempt)


def key_to(key: Key) -> pb.Key:
    return pb.Key(request_id=key.request_id.partition("/")[2], attempt=key.attempt)


def sampling_from(message: pb.SamplingParameters) -> Sampling:
    return Sampling(
        max_tokens=message.max_tokens,
        temperature=message.temperature,
        top_k=message.top_k,
        top_p=message.top_p,
        seed=message.seed,
        stop_token_ids=tuple(message.stop_token_ids),
        ignore_eos=message.ignore_eos,
        logprobs=message.logprobs if message.HasField("logprobs") else None,
        json_schema=message.json_schema or None,
        regex=message.regex or None,
        prompt_logprobs=message.prompt_logprobs if message.HasField("prompt_logprobs") else None,
    )


def request_from(front_door: str, message: pb.Submit | pb.Attach) -> EngineRequest:
    prefill = isinstance(message, pb.Submit) and message.phase == pb.PHASE_PREFILL
    return EngineRequest(
        key=key_from(front_door, message.key),
        tokens=array("I", message.tokens).tolist(),
        first_index=message.first_index,
        sampling=sampling_from(message.sampling),
        phase=Phase.PREFILL if prefill else Phase.BOTH,
    )


def kv_from(message: pb.KvBlocks) -> KvBlocks:
    return KvBlocks(tuple(message.blocks), tuple(message.generations), message.tokens, message.handoff)


def kv_to(kv: KvBlocks) -> pb.KvBlocks:
    return pb.KvBlocks(blocks=kv.blocks, generations=kv.generations, tokens=kv.tokens, handoff=kv.handoff)


def pulled_to(key: Key, result: PullResult) -> pb.Pulled:
    return pb.Pulled(key=key_to(key), bytes=result.bytes, descriptors=result.descriptors, seconds=result.seconds)


def is_plain(emission: Emission) -> bool:
    """One token after the first of its attempt, and nothing else to say: the usual case, which a Step packs."""
    return (
        len(emission.tokens) == 1
        and emission.first_index > 0
        and emission.finish is None
        and emission.lease is None
        and not emission.logprobs
        and not emission.prefilled
        and emission.refusal is None
        and emission.pulled is None
        and not emission.error
    )


def tokens_to(emission: Emission) -> pb.Tokens:
    """One request's part of a step message."""
    message = pb.Tokens(
        key=key_to(emission.key),
        first_index=emission.first_index,
        tokens=emission.tokens,
        finish=emission.finish or "",
        error=emission.error,
        cached_tokens=emission.cached_tokens,
    )
    for wire, entries in ((message.logprobs, emission.logprobs), (message.prompt_logprobs, emission.prompt_logprobs)):
        for entry in entries:
            wire.add(logprob=entry.logprob, top_ids=entry.top_ids, top_logprobs=entry.top_logprobs)
    if emission.lease is not None:
        message.lease.CopyFrom(kv_to(emission.lease))
    return message


_SHARED = [
    "running",
    "waiting",
    "waiting_prefill_tokens",
    "decode_context_tokens",
    "kv_used_blocks",
    "kv_total_blocks",
    "leased_blocks",
    "reserved_blocks",
    "steps",
    "step_time_s",
    "preemptions",
    "lease_expiries",
    "prompt_tokens",
    "cached_prompt_tokens",
    "generated_tokens",
]


def status_to(stats: EngineStats, peers: Iterable[str], pulls: tuple[int, int, int]) -> pb.WorkerStatus:
    """`pulls` is (bytes pulled, pulls, failed pulls) since start."""
    status = pb.WorkerStatus(**{name: getattr(stats, name) for name in _SHARED})
    status.connected_peers.extend(peers)
    status.kv_bytes_pulled, status.kv_pulls, status.kv_pull_failures = pulls
    return status
