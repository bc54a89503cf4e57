"""What the watch over Ray makes of a controller that is silent: told by Ray whether it starts, and on no real clock."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import ray

from orchestrator.control import ray_watch
from orchestrator.control.controller_watch import ASK_S, START_S
from orchestrator.control.names import controller_name
from orchestrator.core.config import Cluster
from orchestrator.state import Store, open_store

LIMIT_S = Cluster().spec.faults.answer_timeout_s


class Ray:
    """Stands for Ray. `state` is the controller's; it answers while `answers`, and dies with `ends`."""

    exceptions = ray.exceptions

    def __init__(self) -> None:
        self.state, self.answers = "PENDING_CREATION", False
        self.now_s, self.turns, self.questions = 100.0, 0, 0
        self.error: Exception | None = None
        self.ended: list[tuple[str, int]] = []
        self.actor = SimpleNamespace(status=SimpleNamespace(remote=self._asked), _actor_id=b"\x01")

    def _asked(self) -> int:
        self.questions += 1
        return self.questions

    def get_actor(self, name: str, namespace: str) -> Any:
        assert name == controller_name(Cluster().name)
        return self.actor

    def wait(self, references: list[int], timeout: float) -> tuple[list[int], list[int]]:
        self.now_s += timeout
        return (references, []) if self.answers or self.error else ([], references)

    def get(self, reference: int) -> dict[str, int]:
        error, self.error = self.error, None
        if error is not None:
            raise error
        self.turns += 1
        return {"pid": 7, "turns": self.turns}

    def actors(self, identity: str) -> dict[str, str]:
        return {"State": self.state} if identity == "01" else {}

    def end(self, kind: str, actor: str, pid: int) -> None:
        self.ended.append((kind, pid))
        self.state, self.answers = "RESTARTING", False
        self.error = ray.exceptions.ActorUnavailableError("its process is gone", None)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Ray:
    fake = Ray()
    for name, value in (("ray", fake), ("ray_state", fake), ("_end", fake.end)):
        monkeypatch.setattr(ray_watch, name, value)
    monkeypatch.setattr(ray_watch, "time", SimpleNamespace(monotonic=lambda: fake.now_s))
    monkeypatch.setattr(ray_watch.RayWatch, "_run", lambda self: None)
    return fake


@pytest.fixture
def store(tmp_path: Any) -> Store:
    store = open_store(f"sqlite:///{tmp_path / 'state.db'}")
    store.put("controller", "main", {"pid": 7})
    return store


@pytest.fixture
def watch(fake: Ray, store: Store) -> ray_watch.RayWatch:
    return ray_watch.RayWatch(Cluster(), store, lambda: pytest.fail("the controller is not gone"))


def rounds(watch: ray_watch.RayWatch, seconds: float) -> None:
    for _ in range(int(seconds / ASK_S)):
        watch._ask_controller()


def messages(store: Store) -> list[str]:
    return [event["message"] for _, event in store.events() if event["reason"] == "ControllerHung"]


def test_controller_that_is_stopped_is_ended_once_however_slowly_the_next_one_starts(
    fake: Ray, watch: ray_watch.RayWatch, store: Store
) -> None:
    rounds(watch, 5 * LIMIT_S)  # the first start
    fake.state, fake.answers = "ALIVE", True
    rounds(watch, 5)
    fake.answers = False
    rounds(watch, LIMIT_S + ASK_S)
    assert fake.ended == [("Controller", 7)]
    assert [m.partition(": ")[2] for m in messages(store)] == [f"no answer for {LIMIT_S + ASK_S:.1f} s; started again"]
    rounds(watch, START_S - ASK_S)
    fake.state, fake.answers = "ALIVE", True
    rounds(watch, 5)
    assert len(messages(store)) == 1 and watch.report()["controller"]["pid"] == 7


def test_question_that_is_not_answered_is_not_asked_again(fake: Ray, watch: ray_watch.RayWatch, store: Store) -> None:
    """An answer that always takes longer than one round is an answer all the same."""
    fake.state = "ALIVE"
    for _ in range(10):
        fake.answers = False
        rounds(watch, LIMIT_S - 2 * ASK_S)
        fake.answers = True
        rounds(watch, ASK_S)
    assert fake.questions == 10 and messages(store) == []


def test_start_that_does_not_end_is_ended(fake: Ray, watch: ray_watch.RayWatch, store: Store) -> None:
    fake.state = "RESTARTING"
    rounds(watch, START_S + 2 * ASK_S)
    assert len(fake.ended) == 1 and "has not started" in messages(store)[0]
