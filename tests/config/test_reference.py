"""docs/configuration.md names every field and every policy."""

import dataclasses
from pathlib import Path

from orchestrator.core.config import PolicyChoice
from orchestrator.core.config.cluster import Metadata, Spec
from orchestrator.core.config.settings import items_of, optional, settings
from orchestrator.policies.registry import catalog

REFERENCE = (Path(__file__).resolve().parents[2] / "docs" / "configuration.md").read_text()


def keys(section):
    for setting in settings(section):
        kind, _ = optional(setting.type)
        inner = items_of(kind) or kind
        if dataclasses.is_dataclass(inner) and inner is not PolicyChoice:
            yield from keys(inner)
        else:
            yield setting.key


def test_every_field_is_described():
    missing = [key for section in (Metadata, Spec) for key in keys(section) if key not in REFERENCE]
    assert not missing


def test_every_policy_is_described():
    missing = [
        (d, name) for d, policies in catalog().items() for name in policies if f"| {d} | `{name}`" not in REFERENCE
    ]
    assert not missing
