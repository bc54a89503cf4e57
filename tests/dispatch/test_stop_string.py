"""A request that a stop string ends."""

import asyncio

import pytest

from orchestrator.core.cluster import Role
from orchestrator.core.request import RequestState
from orchestrator.core.sampling import Finish
from orchestrator.frontend.text import Assembler, TextModel, generate
from tests.dispatch.links import dispatcher, submission, tokens
from workers.demo import MODEL_DIR


class Meter:
    def tokens(self, count):
        pass


@pytest.mark.parametrize("lost", [False, True], ids=["while it decodes", "after its worker was lost"])
async def test_it_is_finished_not_cancelled(lost):
    text = TextModel.load(MODEL_DIR)
    word, more = (text.encode(word, add_special_tokens=False) for word in ("one two", " three"))
    service, links = dispatcher(w0=Role.BOTH)
    pieces = generate(service, submission("r"), Assembler(text, ["two"], (), False), Meter())
    first = asyncio.ensure_future(anext(pieces))
    await asyncio.sleep(0)
    service.link_message(links["w0"], tokens(links["w0"].last("submit").submit.key, 0, *word, *more))
    if lost:
        service.link_down(links["w0"], "killed")
    assert (await first).finish is Finish.STOP
    assert [piece async for piece in pieces] == []
    record = service.find("r")
    assert record.state is RequestState.FINISHED
    assert record.finish_reason == Finish.STOP
    service.check_integrity()
    if not lost:
        assert links["w0"].last("cancel").cancel.request_id == "r"
