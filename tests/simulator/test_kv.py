"""The KV pool against a list of blocks, each with its users."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.simulator.kv import Holding, KvPool

STEP = st.one_of(
    st.tuples(st.just("admit"), st.integers(0, 2), st.integers(1, 40)),
    st.tuples(st.just("compute"), st.integers(0, 9), st.integers(0, 0)),
    st.tuples(st.just("release"), st.integers(0, 9), st.integers(0, 0)),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(STEP, max_size=60), st.integers(8, 40), st.sampled_from([1, 4, 16]), st.booleans())
def test_blocks_are_shared_and_evicted_as_a_list_of_them_says(
    script: list[tuple[str, int, int]], total: int, size: int, caching: bool
) -> None:
    """Prompts of three families share prefixes. `cached` is what may be reused, oldest idle first; routers hear of every change."""
    pool = KvPool(total, size, caching)
    held: list[tuple[Holding, list[int]]] = []
    users: dict[int, int] = {}
    idle: list[int] = []
    told: set[int] = set()
    peak = 0
    for what, a, b in script:
        if what == "admit":
            hashes = [1000 * a + i for i in range(b // size)]
            prefix: list[int] = []
            for value in hashes[: (b - 1) // size]:
                if value not in users and value not in idle:
                    break
                prefix.append(value)
            assert pool.match(hashes, b) == len(prefix)
            revived = [value for value in prefix if value in idle]
            assert pool.revived(prefix) == len(revived)
            private = pool.blocks_for(b) - len(prefix)
            if private + len(revived) > pool.free_blocks:
                continue
            holding = Holding(private, pool.share(prefix))
            pool.take(private)
            held.append((holding, hashes))
            for value in prefix:
                users[value] = users.get(value, 0) + 1
            idle = [value for value in idle if value not in users]
        elif held and what == "compute":
            holding, hashes = held[a % len(held)]
            pool.remember(holding, hashes[len(holding.shared) :])
            for value in hashes if caching else []:
                if value not in users and value not in idle:
                    users[value] = 1
        elif held:
            holding, _ = held.pop(a % len(held))
            mine = list(reversed(holding.shared))
            pool.release(holding)
            for value in mine:
                users[value] -= 1
            idle += [value for value in mine if not users[value]]
            users = {value: count for value, count in users.items() if count}
        private = sum(holding.private for holding, _ in held)
        idle = idle[max(0, private + len(users) + len(idle) - total) :]
        peak = max(peak, private + len(users))
        assert pool.held == private and pool.used_blocks == private + len(users)
        assert pool.free_blocks == total - private - len(users) >= 0
        assert pool.peak_blocks == peak
        told = (told | set(pool.stored)) - set(pool.removed)
        pool.stored.clear()
        pool.removed.clear()
        assert told == users.keys() | set(idle)
        pool.check(private, [holding.shared for holding, _ in held])
