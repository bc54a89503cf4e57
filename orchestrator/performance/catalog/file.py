"""Reads a catalog file into raw entries, and lays an entry over its base."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.core.config.problems import did_you_mean
from orchestrator.performance.error import CatalogError

SECTIONS = ("hardware", "models", "links")
# Tables whose keys are not fields: an override replaces them whole, or a device could not drop a dtype of its base.
WHOLE = ("compute_flops",)

Entries = dict[str, dict[str, Any]]


def read(file: Path) -> dict[str, Entries]:
    """Sections of a file, each name -> table. Raises CatalogError for what is no catalog."""
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CatalogError("no such catalog", str(file), "give the path of a TOML file") from None
    except tomllib.TOMLDecodeError as error:
        raise CatalogError(f"the catalog is no TOML: {error}", str(file), "correct the line") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"cannot read the catalog: {error}", str(file), "give the path of a TOML file") from error
    for section, entries in raw.items():
        if section not in SECTIONS:
            raise CatalogError(f"unknown section [{section}]", str(file), did_you_mean(section, SECTIONS))
        if not isinstance(entries, dict):
            raise CatalogError(f"{section} is no table", str(file), f"write entries as [{section}.NAME]")
        for name, entry in entries.items():
            if not isinstance(entry, dict):
                where = f"{file}, [{section}]"
                raise CatalogError(
                    f"{name} is no entry", where, f'write entries as [{section}."NAME"] with their fields'
                )
    return {section: raw.get(section, {}) for section in SECTIONS}


def resolve(entry: Mapping[str, Any], known: Entries, where: str) -> dict[str, Any]:
    """`entry` laid over the entry of `known` that it names as `base`; itself if it names none. Raises CatalogError."""
    own = {key: value for key, value in entry.items() if key != "base"}
    if "base" not in entry:
        return own
    base = entry["base"]
    if not isinstance(base, str) or base not in known:
        raise CatalogError(f"base = {base!r} names no entry", where, did_you_mean(str(base), known))
    return overlay(known[base], own)


def overlay(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over`, tables of fields merged field by field."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        nested = isinstance(below, dict) and isinstance(value, dict) and key not in WHOLE
        merged[key] = overlay(below or {}, value) if nested else value
    return merged
