"""Files that a command writes for its user."""

from __future__ import annotations

from pathlib import Path

from orchestrator.cli.errors import CliError

ELSEWHERE = "choose another place"


def write_text(path: Path, text: str) -> None:
    """Write `text` and a final newline. Raises CliError where that fails."""
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise CliError(f"cannot write {path}: {reason(error)}", "", ELSEWHERE) from error


def reason(error: OSError) -> str:
    """What the system says, as part of a sentence."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]
