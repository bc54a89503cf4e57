"""`pdctl config schema`."""

from __future__ import annotations

import json


def schema() -> None:
    """Print the JSON schema of cluster.yaml, for editors."""
    from orchestrator.core.config.schema import schema as json_schema
    from orchestrator.policies.registry import catalog

    print(json.dumps(json_schema(catalog()), indent=2, ensure_ascii=False))
