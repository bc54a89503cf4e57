"""Heartbeats of a worker that no longer holds a request which this front door counts there."""

import pytest

from orchestrator.core.cluster import Role
from orchestrator.frontend.worker_messages import UNLISTED_BEATS
from tests.dispatch.links import dispatcher, status, submit


@pytest.mark.parametrize("forgetful", ["p0", "d0"])
async def test_the_request_runs_again_though_the_other_worker_still_holds_it(forgetful):
    service, links = dispatcher(p0=Role.PREFILL, d0=Role.DECODE)
    submit(service, "r")
    key = links["p0"].last("submit").submit.key
    for _ in range(UNLISTED_BEATS):
        assert service.find("r").attempt == 1
        for name, link in links.items():
            service.link_message(link, status(keys=[] if name == forgetful else [key]))
    assert service.find("r").attempt == 2
