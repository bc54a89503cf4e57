"""Reports of both tools fit the one schema."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from orchestrator.report.document import Run, report
from orchestrator.report.schema import OPTIONAL, SCHEMA, fault
from tests.report.documents import replayed, simulated


@pytest.mark.parametrize("document", [replayed(), simulated(), report([], Run(0.0, 0.0, 0.0, 0, "1"))])
def test_documents_fit(document: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert fault(json.loads(json.dumps(document))) is None


def test_every_key_is_in_the_schema() -> None:
    assert set(simulated()) | {"client"} == set(SCHEMA["properties"])  # a simulation has no load generator
    assert set(replayed()) == set(SCHEMA["properties"]) - set(OPTIONAL)


@pytest.mark.parametrize("key", sorted(replayed()))
def test_a_missing_key_is_named(key: str) -> None:
    document = replayed()
    del document[key]
    assert f"'{key}'" in str(fault(document))


def test_a_wrong_value_is_placed() -> None:
    document = replayed()
    document["ttft_s"]["p99"] = "slow"
    assert str(fault(document)).startswith("ttft_s.p99: 'slow'")
    assert fault([]) is not None and fault({}) is not None
