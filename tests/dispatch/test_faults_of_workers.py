"""A worker that keeps failing requests gets none for a while; requests that would come too late are refused at once."""

import pytest

from orchestrator.core.cluster import Role
from orchestrator.core.config import Tier
from orchestrator.core.request import RequestState
from orchestrator.frontend.breaker import BreakerState
from orchestrator.frontend.service import Cause, ServiceError
from pd.v1 import worker_pb2 as pb
from tests.dispatch.links import dispatcher, submission, submit, tokens


def refuse(service, links, name, request_id):
    key = links[name].last("submit").submit.key
    assert key.request_id == request_id
    service.link_message(links[name], pb.FromWorker(refused=pb.Refused(key=key, code="unknown", message="sick")))


async def test_a_worker_that_keeps_failing_gets_no_more_requests_while_there_is_another():
    service, links = dispatcher(sick=Role.BOTH, well=Role.BOTH)

    def runs_on(request_id):
        submit(service, request_id)
        return service.find(request_id).prefill_worker

    for i in range(20):
        if runs_on(f"r{i}") == "sick":
            refuse(service, links, "sick", f"r{i}")
        service.cancel(f"r{i}")
    assert service.gates.state("sick") is BreakerState.OPEN
    assert {runs_on(f"s{i}") for i in range(4)} == {"well"}
    service.link_down(links["well"], "gone")
    assert service.ready and runs_on("later") == "sick"
    service.check_integrity()


async def test_without_workers_requests_are_refused():
    service, links = dispatcher(w0=Role.BOTH)
    service.link_down(links["w0"], "gone")
    assert not service.ready
    with pytest.raises(ServiceError) as nobody:
        submit(service, "later")
    assert nobody.value.cause is Cause.NO_CAPACITY


async def test_a_refusal_costs_an_attempt_and_the_next_one_runs():
    service, links = dispatcher(w0=Role.BOTH)
    output = submit(service, "r")
    refuse(service, links, "w0", "r")
    service.pump()
    again = links["w0"].last("submit").submit
    service.link_message(links["w0"], tokens(again.key, 0, 7, finish="length"))
    assert (await anext(output)).tokens == (7,)
    assert service.find("r").attempt == 2
    assert service.find("r").state is RequestState.FINISHED


async def test_a_first_token_that_would_come_too_late_is_refused_at_once(monkeypatch):
    service, links = dispatcher(max_concurrent=1, w0=Role.BOTH)
    service.tiers = {"default": Tier("default", 1000.0, 1000.0)}
    now_s = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    submit(service, "first")
    now_s += 0.5
    service.link_message(links["w0"], tokens(links["w0"].last("submit").submit.key, 0, 7))
    submit(service, "second")
    with pytest.raises(ServiceError, match="promises 1 s") as late:
        submit(service, "third")
    assert late.value.cause is Cause.OVERLOADED
    assert late.value.retry_after_s == pytest.approx(0.2)
    patient = submission("patient")
    patient.ttft_slo_s = 10.0
    submit(service, patient)
    service.check_integrity()
