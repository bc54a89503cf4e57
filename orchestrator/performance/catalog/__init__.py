"""Catalogs of hardware, models and links: TOML files in which every figure names its source, and what users add to them."""

from __future__ import annotations

from orchestrator.performance.catalog.catalog import Catalog
from orchestrator.performance.error import CatalogError

__all__ = ["Catalog", "CatalogError"]
