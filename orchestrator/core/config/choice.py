"""A policy as it is written: `NAME` or `{name, parameters}`."""

from __future__ import annotations

from typing import Any

import yaml

from orchestrator.core.config.policies import PolicyChoice
from orchestrator.core.config.reporter import Reporter, is_null, shown
from orchestrator.core.config.scalars import plain


def decode_choice(reporter: Reporter, node: yaml.Node, path: str) -> PolicyChoice | None:
    """`NAME` or `{name, parameters}`; parameters are checked against the catalog later."""
    if isinstance(node, yaml.ScalarNode):
        name = plain(node)
        if isinstance(name, str) and name:
            return PolicyChoice(name)
        reporter.report(path, shown(node), "it must be the name of a policy", "write `NAME` or `{name: NAME}`")
        return None
    values: dict[str, Any] = {"name": None, "parameters": {}}
    for key, child, at in reporter.entries(node, path):
        if key == "name" and isinstance(child, yaml.ScalarNode) and isinstance(plain(child), str):
            values["name"] = plain(child)
        elif key == "parameters":
            values["parameters"] = _parameters(reporter, child, at)
        elif key == "name":
            reporter.report(at, shown(child), "it must be the name of a policy", "write text")
            values["name"] = 0
        else:
            reporter.report(at, shown(child), f"a policy has no field {key!r}", "put it under `parameters:`")
    if values["name"] is None and isinstance(node, yaml.MappingNode):
        reporter.report(f"{path}.name", "(missing)", "it is required", "add `name: ...`, the name of a policy")
    return PolicyChoice(values["name"], values["parameters"]) if isinstance(values["name"], str) else None


def _parameters(reporter: Reporter, node: yaml.Node, path: str) -> dict[str, Any]:
    """Parameters by their YAML key, each a single value."""
    out: dict[str, Any] = {}
    if is_null(node):
        return out
    for key, child, at in reporter.entries(node, path):
        if isinstance(child, yaml.ScalarNode):
            out[key] = plain(child)
        else:
            reporter.report(
                at, shown(child), "a parameter must be a single value", "write a number, text, true or false"
            )
    return out
