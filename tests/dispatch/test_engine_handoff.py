"""A handoff that the engines carry out themselves: relayed as it came, and its source may forget it once the pull was asked for."""

from __future__ import annotations

import pytest

from orchestrator.core.cluster import Role
from orchestrator.frontend.dispatchers import Dispatchers
from orchestrator.frontend.worker_messages import UNLISTED_BEATS
from pd.v1 import worker_pb2 as pb
from tests.dispatch.links import dispatcher, status, submit, tokens

HANDOFF = b'{"remote_engine_id": "e"}'


def expired(key: pb.Key) -> pb.FromWorker:
    return pb.FromWorker(refused=pb.Refused(key=key, code="expired", message="the lease ran out"))


async def test_what_the_source_says_is_relayed_untouched():
    service, links = dispatcher(p0=Role.PREFILL, d0=Role.DECODE)
    submit(service, "r")
    key = links["p0"].last("submit").submit.key
    service.link_message(links["p0"], tokens(key, 0, 7, lease=pb.KvBlocks(tokens=40, handoff=HANDOFF)))
    attach = links["d0"].last("attach").attach
    assert (attach.source.handoff, attach.source.tokens, attach.first_index) == (HANDOFF, 40, 1)
    service.link_message(links["d0"], pb.FromWorker(pulled=pb.Pulled(key=key, seconds=0.012)))
    stage = next(stage for stage in service.find("r").stages if stage.name == "handoff")
    assert stage.detail == "by the engine; first token after 12.0 ms"
    assert links["p0"].last("release").release == key


@pytest.mark.parametrize("handoff", [b"", HANDOFF])
async def test_a_source_may_forget_it_only_if_the_engine_pulls(handoff):
    service, links = dispatcher(p0=Role.PREFILL, d0=Role.DECODE)
    submit(service, "r")
    key = links["p0"].last("submit").submit.key
    service.link_message(links["p0"], tokens(key, 0, 7, lease=pb.KvBlocks(tokens=40, handoff=handoff)))
    service.link_message(links["p0"], expired(key))
    for _ in range(UNLISTED_BEATS):
        service.link_message(links["p0"], status(keys=[]))
    assert service.find("r").attempt == (1 if handoff else 2)


async def test_a_leg_without_a_token_hands_over_the_prompt_alone():
    service, links = dispatcher(p0=Role.PREFILL, d0=Role.DECODE)
    submit(service, "r")
    key = links["p0"].last("submit").submit.key
    service.link_message(links["p0"], tokens(key, 0, lease=pb.KvBlocks(tokens=40, handoff=HANDOFF)))
    attach = links["d0"].last("attach").attach
    assert attach.first_index == 0 and len(attach.tokens) == 4 * 40
    record = service.find("r")
    assert record.ttft_s is None and [s.name for s in record.stages if s.seconds is None] == ["handoff"]


async def test_dispatchers_of_several_models_are_read_as_one():
    first, _ = dispatcher(p0=Role.BOTH)
    second, links = dispatcher(q0=Role.BOTH)
    second.model = type(second.model)("other", 512, 1000, (0,))
    both = Dispatchers([first, second])
    assert both.of("") is both.of("demo") is first and both.of("other") is second and both.of("third") is None
    submit(first, "a")
    submit(second, "b")
    assert [record.request_id for record in both.requests()] == ["a", "b"] and both.running == 2
    assert both.find("b") is second.find("b") and both.find("c") is None
    assert set(both.workers) == {"p0", "q0"} and links["q0"].last("submit").submit.key.request_id == "b"
    both.check_integrity()
