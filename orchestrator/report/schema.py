"""What a report must hold, as a JSON Schema (draft 2020-12)."""

from __future__ import annotations

from typing import Any

from orchestrator.report.outcome import Verdict

COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
NUMBER: dict[str, Any] = {"type": "number", "minimum": 0}
MAYBE_COUNT: dict[str, Any] = {"type": ["integer", "null"], "minimum": 0}
MAYBE_NUMBER: dict[str, Any] = {"type": ["number", "null"], "minimum": 0}


def _object(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An object that has all of `properties`, and may have others."""
    return {"type": "object", "properties": properties, "required": list(properties), **more}


SPREAD = _object(dict.fromkeys(("mean", "p50", "p90", "p95", "p99", "max"), MAYBE_NUMBER), additionalProperties=False)
FIGURES: dict[str, Any] = {
    "requests": _object(dict.fromkeys(("submitted", *(v.value for v in Verdict), "clipped"), COUNT)),
    "ttft_s": {"$ref": "#/$defs/spread"},
    "tpot_s": {"$ref": "#/$defs/spread"},
    "itl_s": {"$ref": "#/$defs/spread"},
    "e2e_s": {"$ref": "#/$defs/spread"},
    "throughput": _object(
        dict.fromkeys(("requests_per_s", "input_tokens_per_s", "output_tokens_per_s"), NUMBER),
        additionalProperties=False,
    ),
    "goodput_rps": MAYBE_NUMBER,
    "slo_attainment": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
}
WORKER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "pool": {"type": "string"},
        "role": {"type": "string"},
        "utilization": MAYBE_NUMBER,
        "energy_j": MAYBE_NUMBER,
        "cost_usd": MAYBE_NUMBER,
    },
    "required": ["name", "pool", "role"],
}
_REQUIRED = _object(
    {
        **FIGURES,
        "tiers": {"type": "object", "additionalProperties": _object(FIGURES, additionalProperties=False)},
        "kv": _object(
            dict.fromkeys(("bytes_moved", "transfers", "preemptions", "migrations", "lease_expiries"), MAYBE_COUNT)
        ),
        "energy_j": MAYBE_NUMBER,
        "cost_usd": MAYBE_NUMBER,
        "workers": {"type": "array", "items": WORKER},
        "duration_s": NUMBER,
        "wall_s": NUMBER,
        "cpu_s": NUMBER,
        "seed": {"type": "integer"},
        "version": {"type": "string"},
        "errors": {"type": "object", "additionalProperties": COUNT},
    }
)
OPTIONAL: dict[str, Any] = {
    "decisions": {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": COUNT}},
    "policies": {"type": "object", "additionalProperties": {"type": "string"}},
    "scenario": {"type": "object"},
    "client": _object(
        {
            "sent_late_s": {"$ref": "#/$defs/spread"},
            "waited_for_slot_s": {"$ref": "#/$defs/spread"},
            "slot_waits": COUNT,
        }
    ),
}
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Report of pdctl replay and pdctl simulate",
    **_REQUIRED,
    "properties": {**_REQUIRED["properties"], **OPTIONAL},
    "$defs": {"spread": SPREAD},
}


def fault(document: Any) -> str | None:
    """Why `document` is no report, in a few words with the place; None if it is one."""
    from jsonschema import Draft202012Validator

    errors = sorted(Draft202012Validator(SCHEMA).iter_errors(document), key=lambda e: (len(e.path), str(e.path)))
    if not errors:
        return None
    place = ".".join(str(part) for part in errors[0].path)
    text = errors[0].message
    if len(text) > 120:
        text = f"does not fit the schema ({errors[0].validator})"
    return f"{place}: {text}" if place else text
