"""Which of several front doors that drain go on listening."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.frontend import retreat as module
from orchestrator.frontend.retreat import another_serves, retreat, serves
from orchestrator.state import Store, StoreError, open_store
from orchestrator.state.draining import mark_draining


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'state.db'}")
    for name in "abc":
        opened.put("frontdoor", name, {"peer_address": f"{name}:1"})
    yield opened
    opened.close()


class Alive:
    """Answers for the front doors in `names`."""

    def __init__(self, names: str) -> None:
        self.names = names
        self.asked: list[str] = []

    async def __call__(self, address: str) -> bool:
        self.asked.append(address)
        return address[0] in self.names


async def test_one_that_ends_alone_leaves_to_those_that_answer(store: Store) -> None:
    assert await another_serves(store, "a", Alive("b"))
    assert store.get("frontdoor", "a") == {"peer_address": "a:1", "draining": True}
    hung = Alive("")
    assert not await another_serves(store, "a", hung) and hung.asked == ["b:1", "c:1"]


async def test_of_those_that_end_together_the_last_to_mark_stays(store: Store) -> None:
    all_alive = Alive("abc")
    assert [await another_serves(store, name, all_alive) for name in "abc"] == [True, True, False]


async def test_none_leaves_when_the_launcher_has_marked_all(store: Store) -> None:
    for name in "abc":
        mark_draining(store, name)
    all_alive = Alive("abc")
    assert not any([await another_serves(store, name, all_alive) for name in "abc"]) and not all_alive.asked


async def test_front_door_without_a_document_gets_none(store: Store) -> None:
    store.delete("frontdoor", "a")
    await another_serves(store, "a", Alive(""))
    assert store.get("frontdoor", "a") is None


class Away:
    """A store that answers from the third call on."""

    def __init__(self, store: Store) -> None:
        self.store, self.calls = store, 0

    def update(self, *arguments: Any) -> Any:
        self.calls += 1
        if self.calls < 3:
            raise StoreError("away")
        return self.store.update(*arguments)

    def list(self, kind: str) -> Any:
        return self.store.list(kind)


async def test_it_stays_while_the_store_is_away_and_leaves_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.0)
    away: Any = Away(store)
    left: list[int] = []

    async def leave() -> None:
        left.append(away.calls)

    await asyncio.wait_for(retreat(away, "a", leave, Alive("c")), 10)
    assert left == [3]


async def test_who_does_not_answer_does_not_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ASK_S", 0.2)
    assert not await serves("127.0.0.1:1")
