"""The entries of the shipped catalogs and of a user's file, by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from orchestrator.core.config.problems import did_you_mean
from orchestrator.performance.catalog.fields import build
from orchestrator.performance.catalog.file import SECTIONS, Entries, read, resolve
from orchestrator.performance.error import CatalogError
from orchestrator.performance.hardware import Hardware
from orchestrator.performance.huggingface import read_shape
from orchestrator.performance.links import Link
from orchestrator.performance.model import ModelShape

T = TypeVar("T")

SHIPPED = tuple(Path(__file__).parent / f"{section}.toml" for section in SECTIONS)


@dataclass(frozen=True, slots=True)
class Catalog:
    """Immutable. Names are as written in the files; a name in a user's file replaces the shipped entry."""

    _hardware: Mapping[str, Hardware]
    _models: Mapping[str, ModelShape]
    _links: Mapping[str, Link]

    @classmethod
    def load(cls, extra: Path | None = None) -> Self:
        """The shipped entries and those of `extra`, a TOML file with [hardware.NAME], [models.NAME] and [links.NAME].

        An entry may name an earlier one as `base` and set only what differs. Raises CatalogError.
        """
        raw: dict[str, Entries] = {section: {} for section in SECTIONS}
        origin: dict[tuple[str, str], str] = {}
        for file in (*SHIPPED, *([extra] if extra else [])):
            for section, entries in read(file).items():
                for name, entry in entries.items():
                    where = f"{file}, [{section}.{name}]"
                    origin[section, name] = where
                    raw[section][name] = _sourced(resolve(entry, raw[section], where), entry, section, file)
        return cls(
            {n: build(Hardware, e, origin["hardware", n], name=n) for n, e in raw["hardware"].items()},
            {n: _model(n, e, origin["models", n]) for n, e in raw["models"].items()},
            {n: build(Link, e, origin["links", n], name=n) for n, e in raw["links"].items()},
        )

    def hardware(self, name: str) -> Hardware:
        """The device of that name. Raises CatalogError."""
        return _find(self._hardware, name, "hardware")

    def model(self, name: str | Path) -> ModelShape:
        """The model of that name or path: a Hugging Face config.json or the directory that holds it. Raises CatalogError."""
        text, path = str(name), Path(name)
        if text in self._models:
            return self._models[text]
        if path.exists():
            return read_shape(path)
        if path.suffix == ".json" or path.is_absolute():
            raise self._missing(path)
        do = f"{did_you_mean(path.name, self._models)}, or give the path of a config.json"
        raise CatalogError(f"there is no model {text!r}", "catalog of models", do)

    def _missing(self, path: Path) -> CatalogError:
        """A name of a model hub reads like a path: `meta-llama/Llama-3.1-70B-Instruct` is near to an entry."""
        word = (path.parent if path.suffix == ".json" else path).name.lower()
        inside = sorted((name for name in self._models if name in word), key=len)[-1:]
        near = inside or difflib.get_close_matches(word, self._models, n=1, cutoff=0.75)
        guess = f"did you mean {near[0]!r} of the catalog? else " if near else ""
        return CatalogError("no such model", str(path), f"{guess}give a model's directory or its config.json")

    def link(self, name: str) -> Link:
        """The link of that name. Raises CatalogError."""
        return _find(self._links, name, "links")

    def hardware_names(self) -> tuple[str, ...]:
        return tuple(sorted(self._hardware))

    def model_names(self) -> tuple[str, ...]:
        return tuple(sorted(self._models))

    def link_names(self) -> tuple[str, ...]:
        return tuple(sorted(self._links))


def _find(entries: Mapping[str, T], name: str, kind: str) -> T:
    if name not in entries:
        raise CatalogError(f"there is no {name!r}", f"catalog of {kind}", did_you_mean(name, entries))
    return entries[name]


def _model(name: str, entry: Mapping[str, Any], where: str) -> ModelShape:
    model = build(ModelShape, entry, where, name=name)
    if model.heads % model.kv_heads:
        what = f"{model.heads} heads are no multiple of {model.kv_heads} KV heads"
        raise CatalogError(what, where, "correct heads or kv_heads")
    return model


def _sourced(merged: dict[str, Any], own: Mapping[str, Any], section: str, file: Path) -> dict[str, Any]:
    """A user's figures without a source come from the user's file, not from where the base had them."""
    if file in SHIPPED:
        return merged
    if section != "hardware":
        return {**merged, "source": own.get("source", str(file))}
    named = own.get("sources", {})
    if not isinstance(named, dict):
        return merged
    fields = (field for field in own if field not in ("base", "sources"))
    return {**merged, "sources": {**merged.get("sources", {}), **dict.fromkeys(fields, str(file)), **named}}
