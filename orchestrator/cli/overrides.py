"""Changes to a configuration from the command line: `policies.routing=least_load`, `pools.decode.count=6`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from orchestrator.cli.errors import CliError, usage
from orchestrator.core.config import Cluster, ConfigError, dump, loads
from orchestrator.policies.registry import catalog

HELP = "write KEY=VALUE with a key below spec, such as pools.decode.count=6 or policies.multiplexing.budgetTokens=512"


def assignment(text: str) -> tuple[str, Any]:
    """Key and value of `KEY=VALUE`; the value is read as YAML. Raises CliError."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip() or not value.strip():
        raise usage(f"{text!r} assigns nothing", "--set", HELP)
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        raise usage(f"{value!r} is no value", f"--set {key}", HELP) from None


def overridden(cluster: Cluster, assignments: Sequence[tuple[str, Any]]) -> Cluster:
    """`cluster` with these values, checked as a file is. Raises CliError."""
    if not assignments:
        return cluster
    document = dump(cluster)
    for key, value in assignments:
        _assign(document["spec"], key, value)
    try:
        return loads(yaml.safe_dump(document, sort_keys=False), catalog(), file="cluster with --set")
    except ConfigError as error:
        problem = error.problems[0]
        raise CliError(f"{problem.path}: {problem.reason}", f"value {problem.value}", problem.remedy) from error


def _assign(spec: dict[str, Any], key: str, value: Any) -> None:
    parts = key.removeprefix("spec.").split(".")
    if parts[0] == "policies" and len(parts) > 1:
        _assign_policy(spec, key, parts, value)
        return
    place: Any = spec
    for part in parts[:-1]:
        place = _below(place, part, key)
    if isinstance(place, dict):
        place[parts[-1]] = value
    else:
        raise usage(f"{key} names no field", "--set", HELP)


def _below(place: Any, part: str, key: str) -> Any:
    """The section or the item of that name. A section that is left to its defaults appears as it is written to."""
    if isinstance(place, dict):
        return place.setdefault(part, {})
    named = {item.get("name"): item for item in place if isinstance(item, dict)} if isinstance(place, list) else {}
    if part not in named:
        known = ", ".join(str(name) for name in named)
        raise usage(f"{key}: there is no {part!r}", "--set", f"use one of {known}" if known else HELP)
    return named[part]


def _assign_policy(spec: dict[str, Any], key: str, parts: list[str], value: Any) -> None:
    choice = spec["policies"].setdefault(parts[1], {"name": None, "parameters": {}})
    if len(parts) == 2:
        choice.update({"name": value, "parameters": {}})
    elif len(parts) == 3:
        choice["parameters"][parts[2]] = value
    else:
        raise usage(f"{key} names no policy parameter", "--set", HELP)
