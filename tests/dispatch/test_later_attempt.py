"""An attempt that goes on where another was lost has stages of its own."""

from __future__ import annotations

from array import array

from orchestrator.core.cluster import Role
from orchestrator.core.request import RequestState
from pd.v1 import worker_pb2 as pb
from tests.dispatch.links import dispatcher, submit, tokens


def packed(*triples: tuple[int, int, int]) -> pb.FromWorker:
    """A step with one plain token for each (attempt, index, token)."""
    words = array("I", [word for triple in triples for word in triple])
    return pb.FromWorker(step=pb.Step(plain=words.tobytes()))


async def test_prefill_ends_with_the_first_token_of_a_co_located_attempt() -> None:
    service, links = dispatcher(p0=Role.PREFILL, d0=Role.DECODE)
    submit(service, "r")
    key = links["p0"].last("submit").submit.key
    service.link_message(links["p0"], tokens(key, 0, 7, lease=pb.KvBlocks(blocks=[1], generations=[1], tokens=40)))
    service.link_message(links["d0"], pb.FromWorker(pulled=pb.Pulled(key=key)))
    service.link_message(links["d0"], packed((key.attempt, 1, 8), (key.attempt, 2, 9)))
    service.link_down(links["d0"], "killed")
    service.gates.want("p0", Role.BOTH, True)
    service.pump()
    again = links["p0"].last("submit").submit
    assert (again.phase, again.first_index) == (pb.PHASE_BOTH, 3)
    service.link_message(links["p0"], tokens(again.key, 3, 10))
    record = service.find("r")
    assert record is not None and record.state is RequestState.DECODING
    prefill, decode = (stage for stage in record.stages if stage.attempt == 2 and stage.name in ("prefill", "decode"))
    assert prefill.seconds is not None and decode.seconds is None
    assert prefill.detail.endswith("3 emitted tokens to prefill with it")
    assert not service.router.view.outstanding_prefill_tokens.any(), "a router must not take it for waiting prefill"
    service.link_message(links["p0"], packed((again.key.attempt, 4, 11)))
    assert record.output_tokens == 5
    service.check_integrity()
