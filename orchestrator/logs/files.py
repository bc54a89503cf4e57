"""Which log is meant by a name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DOORS = re.compile(r"front-?door")
DOOR = re.compile(r"front-door-\d+")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,80}")


class UnknownLog(Exception):
    """There is no such log; `known` are those that there are."""

    def __init__(self, what: str, known: list[str]) -> None:
        super().__init__(what)
        self.known = known


@dataclass(frozen=True, slots=True)
class Logs:
    """The logs of the run directory `run_dir`."""

    run_dir: Path

    @property
    def directory(self) -> Path:
        """Where they are."""
        return self.run_dir / "logs"

    def names(self) -> list[str]:
        """What there is, in order."""
        return sorted(path.stem for path in self.directory.glob("*.log")) if self.directory.is_dir() else []

    def path(self, name: str) -> Path:
        """The file of a worker, of `controller`, of `up`, of a front door, or of `frontdoor` where there is one; raises UnknownLog."""
        known = self.names()
        if DOORS.fullmatch(name):
            doors = [other for other in known if DOOR.fullmatch(other)]
            if len(doors) > 1:
                raise UnknownLog(f"there are {len(doors)} front doors", doors)
            name = doors[0] if doors else name
        # The name comes from outside: nothing but a plain name may become part of a path.
        if not NAME.fullmatch(name) or name not in known:
            raise UnknownLog(f"there is no log {name!r}", known)
        return self.directory / f"{name}.log"
