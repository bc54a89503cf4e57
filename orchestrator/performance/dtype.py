"""Number formats of weights, activations and KV, and their sizes."""

from __future__ import annotations

ELEMENT_BYTES = {
    "float32": 4.0,
    "bfloat16": 2.0,
    "float16": 2.0,
    "float8": 1.0,
    "int8": 1.0,
    "float4": 0.5,
}
