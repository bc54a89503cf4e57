"""A `Cluster` back to the dict of its YAML file. `parse(dump(cluster)) == cluster`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from orchestrator.core.cluster import Role
from orchestrator.core.config.cluster import API_VERSION, KIND, Cluster
from orchestrator.core.config.load import loads
from orchestrator.core.config.policies import PolicyChoice
from orchestrator.core.config.settings import camel, settings


def dump(cluster: Cluster) -> dict[str, Any]:
    """Plain dicts, lists and scalars in camelCase, every default written out."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": to_plain(cluster.metadata),
        "spec": to_plain(cluster.spec),
    }


def parse(document: Mapping[str, Any], file: str = "cluster.yaml") -> Cluster:
    """A cluster from a dict such as `dump` makes, with its policies taken as checked; raises ConfigError."""
    return loads(json.dumps(document), file=file)


def to_plain(value: Any) -> Any:
    """A section, list or value as it stands in the file."""
    if isinstance(value, PolicyChoice):
        return {"name": value.name, "parameters": {camel(k): v for k, v in value.parameters.items()}}
    if dataclasses.is_dataclass(value):
        assert not isinstance(value, type)
        fields = {s.key: to_plain(getattr(value, s.name)) for s in settings(type(value))}
        return {key: v for key, v in fields.items() if v is not None and v != []}
    if isinstance(value, tuple):
        return [to_plain(v) for v in value]
    if isinstance(value, Role | StrEnum):
        return str(value)
    return value
