"""How a policy declares itself: `@policy` on a dataclass whose public fields are its parameters."""

from __future__ import annotations

import sys
from typing import TypeVar

from orchestrator.core.config.policies import ParameterInfo, PolicyInfo
from orchestrator.core.config.settings import setting as parameter
from orchestrator.core.config.settings import settings

__all__ = ["describe", "marked", "parameter", "policy"]

T = TypeVar("T", bound=type)
_MARKED: dict[str, type] = {}


def policy(cls: T) -> T:
    """Mark the policy of a file. Its name is the file's, its decision the folder's; a file holds one."""
    other = _MARKED.get(cls.__module__)
    assert other is None or other.__name__ == cls.__name__, f"{cls.__module__} marks {other} and {cls}"
    _MARKED[cls.__module__] = cls
    return cls


def marked(module: str) -> type | None:
    """The policy of an imported module, or None for a module that only helps others."""
    return _MARKED.get(module)


def describe(cls: type) -> PolicyInfo:
    """A marked policy's decision and name, the first line of its file, and its parameters."""
    decision, name = cls.__module__.split(".")[-2:]
    summary = (sys.modules[cls.__module__].__doc__ or "").partition("\n")[0]
    parameters = [
        ParameterInfo(s.name, s.type, s.default, s.rule.minimum, s.rule.maximum, s.rule.doc) for s in settings(cls)
    ]
    return PolicyInfo(decision, name, summary, tuple(parameters))
