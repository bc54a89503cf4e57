"""Chosen policies against those that exist: names, parameter names, types and ranges."""

from __future__ import annotations

import dataclasses
from typing import Any

from orchestrator.core.config.policies import Policies, PolicyCatalog, PolicyChoice, PolicyInfo
from orchestrator.core.config.problems import did_you_mean
from orchestrator.core.config.rules import Report
from orchestrator.core.config.scalars import Wrong, in_range, typed
from orchestrator.core.config.settings import Rule, camel, settings, snake


def resolve(policies: Policies, catalog: PolicyCatalog | None, report: Report, path: str = "spec.policies") -> Policies:
    """`policies` with parameters in snake_case. With a catalog, reports what it does not hold."""
    resolved = {}
    for s in settings(Policies):
        choice: PolicyChoice = getattr(policies, s.name)
        at = f"{path}.{s.key}"
        parameters: dict[str, Any] = {snake(k): v for k, v in choice.parameters.items()}
        if catalog is not None:
            known = catalog.get(s.name, {})
            if choice.name not in known:
                reason = f"there is no {s.name} policy of this name"
                report(at, repr(choice.name), reason, did_you_mean(choice.name, known))
            else:
                parameters = check_parameters(known[choice.name], choice.parameters, report, f"{at}.parameters")
        resolved[s.name] = PolicyChoice(choice.name, parameters)
    return dataclasses.replace(policies, **resolved)


def check_parameters(info: PolicyInfo, given: Any, report: Report, path: str) -> dict[str, Any]:
    """The valid ones of `given` (camelCase or snake_case keys) in snake_case; reports the others."""
    known = {p.name: p for p in info.parameters}
    out: dict[str, Any] = {}
    for key, value in given.items():
        name, at = snake(key), f"{path}.{key}"
        if name not in known:
            report(
                at, repr(value), f"{info.name} takes no parameter {key!r}", did_you_mean(key, [camel(k) for k in known])
            )
            continue
        parameter = known[name]
        try:
            rule = Rule(parameter.doc, parameter.minimum, parameter.maximum)
            out[name] = in_range(typed(value, parameter.type, rule), rule)
        except Wrong as wrong:
            report(at, repr(value), wrong.reason, wrong.remedy)
    return out
