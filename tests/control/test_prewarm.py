"""Which transport pairs are warmed, and when again."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.control.prewarm import Peer, Prewarmer, wanted_pairs
from orchestrator.core.cluster import Role

WORKERS = (
    ("p", Role.PREFILL, "a"),
    ("d", Role.DECODE, "a"),
    ("other-p", Role.PREFILL, "b"),
    ("other-d", Role.DECODE, "b"),
)


def peer(name: str, role: Role, incarnation: int = 1) -> Peer:
    return Peer(name, incarnation, role, f"{name}:1", name.encode())


def names(pairs: object) -> set[tuple[str, str]]:
    return {(p.puller, p.source) for p in pairs}  # type: ignore[attr-defined]


def test_decode_side_pulls_from_every_prefill_side_but_itself() -> None:
    peers = [peer("p", Role.PREFILL), peer("d", Role.DECODE), peer("b", Role.BOTH)]
    assert names(wanted_pairs(peers)) == {("d", "p"), ("d", "b"), ("b", "p")}


def test_asks_until_warm_and_again_for_a_new_incarnation() -> None:
    warmer = Prewarmer()
    peers = [peer("p", Role.PREFILL), peer("d", Role.DECODE)]
    (pair, puller, source), *rest = warmer.due(peers)
    assert (puller.name, source.name, rest) == ("d", "p", [])
    assert len(warmer.due(peers)) == 1
    warmer.connected(pair)
    assert (warmer.due(peers), warmer.warm, warmer.wanted) == ([], 1, 1)
    assert [pair.source_incarnation for pair, *_ in warmer.due([peer("p", Role.PREFILL, 2), peers[1]])] == [2]
    assert (warmer.warm, warmer.wanted) == (0, 1)


def test_late_answer_about_a_dead_incarnation_is_forgotten() -> None:
    warmer = Prewarmer()
    peers = [peer("p", Role.PREFILL), peer("d", Role.DECODE)]
    [(old, *_)] = warmer.due(peers)
    newer = [peers[0], peer("d", Role.DECODE, 2)]
    warmer.due(newer)
    warmer.connected(old)
    assert len(warmer.due(newer)) == 1
    assert warmer.warm == 0


def test_role_change_adds_pairs() -> None:
    warmer = Prewarmer()
    a, b = peer("a", Role.DECODE), peer("b", Role.DECODE)
    assert warmer.due([a, b]) == []
    assert names(pair for pair, *_ in warmer.due([a, peer("b", Role.BOTH)])) == {("a", "b")}


def test_kv_of_another_model_is_of_no_use() -> None:
    peers = [replace(peer(name, role), model=model) for name, role, model in WORKERS]
    assert names(wanted_pairs(peers)) == {("d", "p"), ("other-d", "other-p")}
