"""Finds policies by their files: `policies/<decision>/<name>.py` holds the policy `<name>`. Adding one is adding a file."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from importlib import import_module
from typing import Any

from orchestrator.core.config.chosen import check_parameters
from orchestrator.core.config.policies import Policies, PolicyCatalog, PolicyInfo
from orchestrator.core.config.problems import did_you_mean
from orchestrator.core.quote import quoted
from orchestrator.policies.policy import describe, marked

DECISIONS = tuple(f.name for f in fields(Policies))


@cache
def _classes(decision: str) -> dict[str, type]:
    if decision not in DECISIONS:
        raise ValueError(f"there is no decision {quoted(decision)}; {did_you_mean(decision, DECISIONS)}")
    package = import_module(f"{__package__}.{decision}")
    names = sorted(m.name for m in pkgutil.iter_modules(package.__path__))
    found = [(name, marked(import_module(f"{package.__name__}.{name}").__name__)) for name in names]
    return {name: cls for name, cls in found if cls is not None}


def available(decision: str) -> list[PolicyInfo]:
    """The policies of a decision by name, each with a line of help and its parameters; raises ValueError."""
    return [describe(cls) for cls in _classes(decision).values()]


def catalog() -> PolicyCatalog:
    """Every policy: what `orchestrator.core.config.load` checks a file against."""
    return {decision: {info.name: info for info in available(decision)} for decision in DECISIONS}


def make(decision: str, name: str, parameters: Mapping[str, Any] | None = None) -> Any:
    """A new policy (parameters in snake_case or camelCase); raises ValueError with what is wrong and what to do."""
    if name not in _classes(decision):
        raise ValueError(f"there is no {decision} policy {quoted(name)}; {did_you_mean(name, _classes(decision))}")
    cls, wrong = _classes(decision)[name], list[tuple[str, ...]]()
    values = check_parameters(describe(cls), parameters or {}, lambda *problem: wrong.append(problem), name)
    if wrong:
        raise ValueError("\n".join("{}: {}: {}; {}".format(*problem) for problem in wrong))
    return cls(**values)
