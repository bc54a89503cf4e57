"""Reads configuration files against the policies that exist."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.core.config import Cluster


def load_file(path: Path) -> Cluster:
    """The cluster of a file; raises ConfigError with every problem."""
    from orchestrator.core.config import load
    from orchestrator.policies.registry import catalog

    return load(path, catalog())
