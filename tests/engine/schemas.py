"""Random JSON Schemas whose instances are of bounded size, most of them short."""

from __future__ import annotations

from typing import Any

import numpy as np

WORDS = ("name", "count", "tags", "kind", "größe", 'say "hi"', "a b", "x-y", "日本")
PATTERNS = ("^[a-z]{1,4}$", "^(red|green|blue)$", "^[0-9]{2}-[A-F]{2}$", "^\\d{3}$", "^a.{0,3}z$")
FORMATS = ("ipv4", "uuid")
DEPTH = 3


def random_schema(random: np.random.Generator, depth: int = DEPTH) -> dict[str, Any]:
    """Objects, arrays, alternatives and constants over bounded strings and numbers; an object or a list outside."""
    if depth == DEPTH:
        items = [random_schema(random, depth - 1) for _ in range(int(random.integers(1, 4)))]
        if random.random() < 0.3:
            return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
        names = random.choice(WORDS, len(items), replace=False).tolist()
        properties = dict(zip(names, items, strict=True))
        return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}
    kinds = ("string", "pattern", "format", "integer", "number", "enum", "const", "boolean", "null")
    inner = ("object", "object", "array", "tuple", "anyOf", "nullable", "ref")
    kind = str(random.choice(kinds + inner * 2 if depth > 0 else kinds))
    match kind:
        case "string":
            least = int(random.integers(0, 4))
            return {"type": "string", "minLength": least, "maxLength": least + int(random.integers(0, 6))}
        case "pattern":
            return {"type": "string", "pattern": str(random.choice(PATTERNS))}
        case "format":
            return {"type": "string", "format": str(random.choice(FORMATS))}
        case "integer":
            least = int(random.integers(-200, 200))
            return {"type": "integer", "minimum": least, "maximum": least + int(random.integers(0, 999))}
        case "number":
            return {"type": "integer", "multipleOf": 5, "exclusiveMinimum": 0, "maximum": 100}
        case "enum":
            return {"enum": ["a", 1, None, True, {"k": ["v"]}, "zwölf"][: int(random.integers(1, 7))]}
        case "const":
            return {"const": [1, {"deep": [None, "x"]}]}
        case "object":
            names = random.choice(WORDS, int(random.integers(1, 5)), replace=False).tolist()
            return {
                "type": "object",
                "properties": {name: random_schema(random, depth - 1) for name in names},
                "required": names[: int(random.integers(0, len(names) + 1))],
                "additionalProperties": False,
            }
        case "array":
            least = int(random.integers(0, 3))
            items = random_schema(random, depth - 1)
            return {"type": "array", "items": items, "minItems": least, "maxItems": least + int(random.integers(0, 3))}
        case "tuple":
            first = [random_schema(random, depth - 1) for _ in range(2)]
            return {"type": "array", "prefixItems": first, "items": False, "minItems": 2}
        case "anyOf":
            return {"anyOf": [random_schema(random, depth - 1) for _ in range(2)]}
        case "nullable":
            return {"type": ["string", "null"], "maxLength": 5}
        case "ref":
            return {
                "type": "object",
                "properties": {"v": {"type": "boolean"}, "next": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}},
                "required": ["v"],
                "additionalProperties": False,
            }
        case _:
            return {"type": kind}
