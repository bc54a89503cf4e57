"""Requests that run out of attempts together."""

import pytest

from orchestrator.core.cluster import Role
from orchestrator.frontend.retries import ATTEMPTS
from orchestrator.frontend.service import Cause, ServiceError
from pd.v1 import worker_pb2 as pb
from tests.dispatch.links import dispatcher, submit


async def test_each_fails_once_while_others_wait():
    service, links = dispatcher(max_concurrent=3, p0=Role.PREFILL, d0=Role.DECODE)
    streams = [submit(service, f"r{i}") for i in range(4)]
    for key in [message.reserve.key for message in links["d0"].sent if message.HasField("reserve")]:
        service.find(key.request_id).attempt = ATTEMPTS
        service.link_message(links["d0"], pb.FromWorker(refused=pb.Refused(key=key, code="full")))
    service.link_down(links["d0"], "killed")
    for stream in streams[:3]:
        with pytest.raises(ServiceError, match="given up") as failed:
            await anext(stream)
        assert failed.value.cause is Cause.WORKER
    assert [record.request_id for record in service.requests()] == ["r0", "r1", "r2", "r3"]
    service.check_integrity()
