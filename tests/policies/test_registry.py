"""The registry: a policy is a file, and choosing one wrongly says what to do."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.core.config import Cluster, PolicyInfo
from orchestrator.policies import registry, routing
from orchestrator.policies.registry import DECISIONS, available, catalog, make

ROOT = Path(registry.__file__).parent

NEW_POLICY = '''"""Always the first worker.

What: nothing more.
"""

from dataclasses import dataclass, field

from orchestrator.policies.policy import parameter, policy


@policy
@dataclass(slots=True)
class First:
    row_limit: int = parameter("rows looked at", 1, minimum=1, maximum=9)
    ratio: float = parameter("a share", 0.5, minimum=0, maximum=1)
    eager: bool = parameter("whether", False)
    label: str = parameter("a word", "x")
    _state: int = field(default=0, init=False)
'''


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A policy file added to the routing package, in a folder of this test."""
    (tmp_path / "first.py").write_text(NEW_POLICY)
    (tmp_path / "helper.py").write_text("x = 1\n")
    monkeypatch.setattr(routing, "__path__", [*routing.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    registry._classes.cache_clear()
    yield "first"
    registry._classes.cache_clear()
    for name in ("first", "helper"):
        sys.modules.pop(f"{routing.__name__}.{name}", None)


def test_adding_a_policy_is_adding_a_file(added: str) -> None:
    info = {i.name: i for i in available("routing")}[added]
    assert info.summary == "Always the first worker." and info.decision == "routing"
    assert [(p.name, p.type, p.default) for p in info.parameters] == [
        ("row_limit", int, 1),
        ("ratio", float, 0.5),
        ("eager", bool, False),
        ("label", str, "x"),
    ]
    assert "helper" not in {i.name for i in available("routing")}
    made = make("routing", added, {"row_limit": 3, "ratio": 1, "eager": True, "label": "y"})
    assert (made.row_limit, made.ratio, made.eager, made.label) == (3, 1.0, True, "y")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"rowLimit": "3"}, "rowLimit: '3': it must be a whole number but is in quotes; write 3 without quotes"),
        ({"row_limit": 10}, "row_limit: 10: it is out of range; use 1 to 9"),
        ({"ratio": 1.5}, "use 0 to 1"),
        ({"eager": 1}, "it must be true or false"),
        ({"row_limit": True}, "it must be a whole number"),
        ({"rowLimits": 1}, "takes no parameter 'rowLimits'; did you mean 'rowLimit'?"),
        ({"_state": 1}, "takes no parameter '_state'"),
    ],
)
def test_wrong_parameters(added: str, parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        make("routing", added, parameters)
    assert message in str(caught.value)


def test_wrong_names() -> None:
    with pytest.raises(ValueError, match="did you mean 'least_load'"):
        make("routing", "least_loads")
    with pytest.raises(ValueError, match="did you mean 'routing'"):
        make("router", "least_load")
    with pytest.raises(ValueError, match="did you mean 'scaling'"):
        available("scalin")


def test_every_default_policy_exists_and_needs_no_parameters() -> None:
    policies = Cluster().spec.policies
    for decision in DECISIONS:
        choice = getattr(policies, decision)
        assert choice.name in catalog()[decision]
        make(decision, choice.name, choice.parameters)


@pytest.mark.parametrize("info", [i for d in DECISIONS for i in available(d)], ids=lambda i: f"{i.decision}-{i.name}")
def test_every_policy_has_the_note(info: PolicyInfo) -> None:
    text = (ROOT / info.decision / f"{info.name}.py").read_text()
    note = text.split('"""')[1]
    at = [note.find(f"\n{heading}: ") for heading in ("What", "Inputs", "Behaviour", "Parameters", "Source")]
    assert -1 not in at and at == sorted(at)
    for parameter in info.parameters:
        assert parameter.name in note.split("\nParameters: ")[1]
        assert parameter.doc


def test_two_policies_are_two_objects() -> None:
    assert make("routing", "least_load") is not make("routing", "least_load")


def test_the_registry_is_short() -> None:
    assert len(Path(registry.__file__).read_text().splitlines()) < 50


def test_policies_do_no_io() -> None:
    banned = ("import time", "import random", "import os", "open(", "datetime", "import asyncio", "np.random", "print(")
    for decision in DECISIONS:
        for file in (ROOT / decision).glob("*.py"):
            text = file.read_text()
            assert not [word for word in banned if word in text], file
