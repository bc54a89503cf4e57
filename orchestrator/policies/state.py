"""What a policy remembers between decisions, as JSON and back, so that another process decides as it would have."""

from __future__ import annotations

import dataclasses
from typing import Any

from orchestrator.core.exact import Json, NotExact, decode, encode


def state(policy: Any) -> Json:
    """The fields of a policy that are no parameters, by name.

    Raises NotExact naming a field that has no exact JSON form. Parameters are what the policy is made with, see `parameters`.
    """
    kind = type(policy)
    if not dataclasses.is_dataclass(policy):
        raise NotExact(f"{kind.__name__} is no dataclass: mark a policy's class with @dataclass")
    # In one piece, so that a list that two fields share is noticed.
    document = encode(policy, kind.__name__)["fields"]
    return {f.name: document[f.name] for f in dataclasses.fields(policy) if not f.init}


def restore(policy: Any, document: Json) -> None:
    """Give a fresh policy of the same class what `state` returned; raises ValueError if it has other fields."""
    names = {f.name for f in dataclasses.fields(policy) if not f.init}
    if names != document.keys():
        raise ValueError(f"{type(policy).__name__} remembers {', '.join(sorted(names)) or 'nothing'}")
    for name, value in document.items():
        object.__setattr__(policy, name, decode(value))


def parameters(policy: Any) -> dict[str, Any]:
    """The parameters that a policy was made with, in snake_case."""
    return {f.name: getattr(policy, f.name) for f in dataclasses.fields(policy) if f.init}
