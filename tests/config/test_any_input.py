"""Whatever the file holds, the loader returns a cluster or a ConfigError whose problems are complete."""

from __future__ import annotations

import random
from pathlib import Path

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.config import Cluster, ConfigError, dump, loads, parse
from orchestrator.policies.registry import catalog

LAPTOP = (Path(__file__).parents[2] / "examples" / "laptop.yaml").read_text()
PIECES = (
    "{",
    "}",
    "[",
    "]",
    ":",
    " ",
    "\n",
    "-",
    "'",
    '"',
    "#",
    "&a ",
    "*a",
    "!!int ",
    "|",
    ">",
    "\t",
    "0",
    "x",
    "~",
    "é",
    "\x00",
)

keys = st.sampled_from(
    ["engine", "pools", "name", "role", "maxBatch", "parameters", "routing", "policies", "memory", "x"]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["both", "chunked"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


def outcome(text: str) -> Cluster | None:
    """The cluster of `text`, or None after its problems were checked."""
    try:
        cluster = loads(text, catalog())
    except ConfigError as error:
        assert error.problems
        lines = text.count("\n") + 2
        for p in error.problems:
            assert 1 <= p.line <= lines and p.path and p.value and p.reason and p.remedy, p
        return None
    assert parse(dump(cluster)) == cluster
    return cluster


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.dictionaries(keys, values, max_size=4))
def test_any_tree(spec: dict[str, object]) -> None:
    outcome(yaml.safe_dump({"apiVersion": "pd/v1", "kind": "Cluster", "spec": spec}))


def test_any_edit_of_a_valid_file() -> None:
    draw = random.Random(7)
    outcomes = set()
    for _ in range(300):
        text = LAPTOP
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(len(text))
            text = text[:at] + draw.choice(PIECES) + text[at + draw.choice([0, 0, 1, 5, 40]) :]
        outcomes.add(outcome(text) is None)
    assert outcomes == {True, False}
