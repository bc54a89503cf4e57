"""Files that a command writes for its user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.cli.errors import CliError

ELSEWHERE = "choose another place"


def write_text(path: Path, text: str) -> None:
    """Write `text` and a final newline. Raises CliError where that fails."""
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise CliError(f"cannot write {path}: {reason(error)}", "", ELSEWHERE) from error


class Files:
    """Writes files and keeps the first failure for later."""

    def __init__(self) -> None:
        self.failure: CliError | None = None

    def write(self, path: Path, text: str) -> None:
        """As `write_text`, but does not raise."""
        try:
            write_text(path, text)
        except CliError as error:
            self.failure = self.failure or error


@contextmanager
def written_first() -> Iterator[Files]:
    """Files that are written before the output is printed, which a reader such as `head` may cut short; their failure is raised
    after it, so that what took long shows even where it cannot be written.
    """
    files = Files()
    yield files
    if files.failure is not None:
        raise files.failure


def reason(error: OSError) -> str:
    """What the system says, as part of a sentence."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]
