"""The JSON file that tells a child process what it is: one flat dataclass."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def read_process_file(kind: type[T], path: Path) -> T:
    """`kind` from FILE; raises ValueError naming a field that is missing or unknown."""
    document = json.loads(path.read_text())
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(document.keys() - known):
        raise ValueError(f"{path}: unknown field {unknown[0]!r}; known: {', '.join(sorted(known))}")
    make: Any = kind
    try:
        made: T = make(**document)
    except TypeError as error:
        raise ValueError(f"{path}: {error}") from None
    return made
