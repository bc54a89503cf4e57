"""A wall clock that jumps by a day decides nothing."""

from __future__ import annotations

import ast
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator.control.anchors import DrainAnchors
from orchestrator.control.drain import SETTLE_S, DrainStep, Occupancy, drain_step
from orchestrator.state import open_store
from tests.control.conftest import eventually
from tests.control.test_supervisor import host, ready

DAY_S = 86_400.0
ROOT = Path(__file__).resolve().parents[2]

LABELS = {
    "workers/host.py": "incarnation, kept above the last one; started_at",
    "workers/endpoint.py": "date of an event",
    "orchestrator/state/events.py": "date of an event",
    "orchestrator/control/controller.py": "started_at",
    "orchestrator/control/launch.py": "started_at",
    "orchestrator/control/desired.py": "name of a drain request",
    "orchestrator/frontend/__main__.py": "started_at",
    "orchestrator/frontend/dispatcher.py": "arrived_at, for explain",
    "orchestrator/frontend/admin/changes.py": "name of a drain request",
    "orchestrator/frontend/admin/messages.py": "age of a worker, shown",
    "orchestrator/frontend/text/template.py": "date in a prompt",
    "orchestrator/frontend/http/answer.py": "`created` of an answer",
    "orchestrator/frontend/http/models.py": "`created` of a model",
    "orchestrator/observability/trace.py": "start of a span",
    "workers/process/spans.py": "start of a span",
    "orchestrator/recording/log.py": "date of a record",
    "orchestrator/cli/get/events.py": "age of an event, shown",
    "orchestrator/cli/describe/worker.py": "age of an event, shown",
}
"""Files that read the wall clock, and why that decides nothing."""


def worker(requested_at: float, budget_s: float = 10.0) -> dict[str, Any]:
    return {"drain": {"requested_at": requested_at, "budget_s": budget_s}, "drained": False}


@pytest.mark.parametrize("jump_s", [-DAY_S, 0.0, DAY_S])
def test_drain_budget_counts_on_the_clock_of_who_watches(jump_s: float) -> None:
    now = 50.0
    anchors = DrainAnchors(lambda: now)
    workers = {"w": worker(time.time() + jump_s)}
    assert drain_step(anchors.local(workers)["w"], None, now) is DrainStep.WAIT
    for now, step in ((59.9, DrainStep.WAIT), (60.1, DrainStep.BUDGET_EXCEEDED)):
        assert drain_step(anchors.local(workers)["w"], None, now) is step
    idle = Occupancy(0, 0, 0, 0, 50.0 + SETTLE_S)
    assert drain_step(anchors.local(workers)["w"], idle, now) is DrainStep.DRAINED
    assert workers["w"]["drain"]["requested_at"] != 50.0  # the document itself stays as it is


def test_another_request_counts_anew_and_a_mark_on_it_does_not() -> None:
    now = 1.0
    anchors = DrainAnchors(lambda: now)
    seen = [anchors.local({"w": worker(7.0)})]
    now = 5.0
    marked = worker(7.0)
    marked["drain"]["exceeded"] = True
    seen += [anchors.local({"w": marked}), anchors.local({"w": worker(3.0)})]  # the clock had gone back
    now = 6.0
    anchors.local({"w": {"drain": None, "drained": False}})
    seen.append(anchors.local({"w": worker(3.0)}))
    assert [documents["w"]["drain"]["requested_at"] for documents in seen] == [1.0, 1.0, 5.0, 6.0]


def test_incarnations_grow_although_the_clock_goes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'state.db'}")
    real = time.time_ns
    seen = []
    for back_s in (0, 1, 2):  # each host starts a day before the one that ended, and finds no endpoint
        monkeypatch.setattr(time, "time_ns", lambda back=back_s: real() - int(back * DAY_S * 1e9))
        supervised = host(tmp_path)
        seen.append(eventually(lambda: ready(store))["incarnation"])
        supervised.stop()
        assert store.get("endpoint", "w-0") is None
    assert seen == sorted(set(seen))
    store.close()


def test_only_labels_are_read_from_the_wall_clock() -> None:
    """A new use of time.time() is either a label, to be listed above with its meaning, or a mistake."""
    wall = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today")}
    users = set()
    for folder in ("orchestrator", "workers"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    if (node.value.id, node.attr) in wall:
                        users.add(str(file.relative_to(ROOT)))
                elif isinstance(node, ast.ImportFrom) and node.module == "time":
                    assert not {"time", "time_ns"} & {name.name for name in node.names}, file
    assert users - LABELS.keys() == set()
