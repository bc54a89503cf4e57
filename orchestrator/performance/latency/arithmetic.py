"""The few functions that differ between arrays and plain floats, so that a formula is written once for both."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

import numpy as np

from orchestrator.performance.batch import Array
from orchestrator.performance.latency.dispatch import Number


@dataclass(frozen=True, slots=True)
class Arithmetic(Generic[Number]):
    """`where_positive(x, y)` is y where x > 0, else 0."""

    maximum: Callable[[Number, Number | float], Number]
    minimum: Callable[[Number, Number | float], Number]
    ceil: Callable[[Number], Number]
    where_positive: Callable[[Number, Number], Number]


ARRAYS: Arithmetic[Array] = Arithmetic(np.maximum, np.minimum, np.ceil, lambda x, y: np.where(x > 0, y, 0.0))
FLOATS: Arithmetic[float] = Arithmetic(max, min, lambda x: float(math.ceil(x)), lambda x, y: y if x > 0 else 0.0)
