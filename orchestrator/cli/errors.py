"""How `pdctl` fails: one line that says what is wrong, where, and what to do about it."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the shell sees."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INTERRUPTED = 130


class CliError(Exception):
    """A failure to show as `error: what; where; do`. Empty parts are left out."""

    def __init__(self, what: str, where: str = "", do: str = "", code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.do = do
        self.code = code

    def __str__(self) -> str:
        return "; ".join(part for part in (self.what, self.where, self.do) if part)


def usage(what: str, where: str = "", do: str = "") -> CliError:
    """A `CliError` for a command line that makes no sense (exit code 2)."""
    return CliError(what, where, do, ExitCode.USAGE)
