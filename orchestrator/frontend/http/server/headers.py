"""Request headers: names in any case, the first value of a name wins."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=1024)
def _key(name: str) -> bytes:
    return name.lower().encode("latin-1", "replace")


class Headers:
    """Headers as they came; decoded when asked for. `raw` maps lower-case names to values."""

    __slots__ = ("raw",)

    def __init__(self, raw: dict[bytes, bytes]) -> None:
        self.raw = raw

    def get(self, name: str, default: str | None = None) -> str | None:
        """The value of `name` without the white space around it, or `default`."""
        value = self.raw.get(_key(name))
        return default if value is None else value.decode("latin-1")

    def __contains__(self, name: str) -> bool:
        return _key(name) in self.raw

    def __len__(self) -> int:
        return len(self.raw)
