"""Section `policies`: one named policy per decision, and what a configuration needs to know of those that exist."""

# ruff: noqa: RUF009 (setting() returns a dataclass field)
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.core.config.settings import setting

Scalar = bool | int | float | str


@dataclass(frozen=True, slots=True)
class PolicyChoice:
    """A policy by name, with its parameters in snake_case. In YAML a bare string means no parameters."""

    name: str
    parameters: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ParameterInfo:
    """A parameter that a policy takes: its Python name, type (bool, int, float or str), default and inclusive range."""

    name: str
    type: type
    default: Any
    minimum: float | None = None
    maximum: float | None = None
    doc: str = ""


@dataclass(frozen=True, slots=True)
class PolicyInfo:
    """A policy that can be chosen."""

    decision: str
    name: str
    summary: str
    parameters: tuple[ParameterInfo, ...] = ()


PolicyCatalog = Mapping[str, Mapping[str, PolicyInfo]]
"""decision → policy name → what it is. Core cannot import policies: `orchestrator.policies.registry.catalog()` is it."""


@dataclass(frozen=True, slots=True)
class Policies:
    """The policy of each decision."""

    admission: PolicyChoice = setting("which waiting requests start", PolicyChoice("fcfs"))
    routing: PolicyChoice = setting("which workers run a request", PolicyChoice("prefix_aware"))
    multiplexing: PolicyChoice = setting("how prefill and decode share an iteration", PolicyChoice("chunked"))
    rebalancing: PolicyChoice = setting("which running requests move", PolicyChoice("none"))
    scaling: PolicyChoice = setting("how many workers per role", PolicyChoice("static"))
    frequency: PolicyChoice = setting("which clock each worker runs at", PolicyChoice("maximum"))
    harvesting: PolicyChoice = setting("how much fine-tuning runs beside decode", PolicyChoice("none"))
