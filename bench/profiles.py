"""Published measurements of real engines and kernels, read from a folder beside the checkout.

`../shared/profiles` holds gzip copies: aiconfigurator (github.com/ai-dynamo/aiconfigurator, Apache-2.0), splitwise_sim
(github.com/Mutinifni/splitwise-sim, MIT: data/perf_model.csv) and distserve (github.com/LLMServe/DistServe, Apache-2.0).
"""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.performance.batch import Array

FOLDER = Path(__file__).resolve().parents[1] / ".." / "shared" / "profiles"
Row = dict[str, str]


def present() -> bool:
    """Whether the folder is there."""
    return FOLDER.is_dir()


def rows(path: str, **wanted: str) -> list[Row]:
    """The rows of a table that have these values in these columns."""
    with gzip.open(FOLDER / f"{path}.csv.gz", "rt", newline="") as file:
        return [row for row in csv.DictReader(file) if wanted.items() <= row.items()]


def columns(table: list[Row], *names: str) -> tuple[Array, ...]:
    """These columns as numbers, each of shape (rows,)."""
    return tuple(np.array([float(row[name]) for row in table]) for name in names)


def document(path: str) -> Any:
    """A JSON file."""
    with gzip.open(FOLDER / f"{path}.json.gz", "rt") as file:
        return json.load(file)
