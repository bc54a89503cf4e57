"""Reads records, also those of a front door that was killed while it wrote."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from orchestrator.recording.entries import FORMAT, VERSION, Entry, Header, RequestEnded
from orchestrator.recording.form import LineReader

GZIP_MAGIC = b"\x1f\x8b"


class RecordError(Exception):
    """A record that cannot be read; str() names the file, the line and the remedy."""

    def __init__(self, what: str, where: str, do: str) -> None:
        super().__init__(f"{what}; {where}; {do}")
        self.what, self.where, self.do = what, where, do


class Record:
    """An open record: `header` at once, then its entries by iteration, once. Raises RecordError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cut_after_line: int | None = None
        """Known after iteration: the last line, of a file that was not written to its end."""
        self._lines = self._complete_lines()
        self._reader = LineReader()
        try:
            header = next((self._reader.read(line) for _, line in self._lines), None)
        except (ValueError, KeyError, TypeError, AttributeError):
            header = None
        if not isinstance(header, Header) or header.format != FORMAT:
            raise RecordError("no record of decisions", str(path), "give a file that frontDoor.recordDecisions wrote")
        if header.version != VERSION:
            do = f"replay it with Tandem {header.tandem}"
            raise RecordError(f"record of version {header.version}, this reads {VERSION}", str(path), do)
        self.header = header

    def __iter__(self) -> Iterator[Entry]:
        for number, line in self._lines:
            entry = self._read(line, number)
            if entry is not None and not isinstance(entry, Header):
                yield entry

    def _complete_lines(self) -> Iterator[tuple[int, str]]:
        """(line number, line), up to the last line end."""
        number = 0
        try:
            with self.path.open("rb") as raw:
                packed = raw.read(2) == GZIP_MAGIC
                raw.seek(0)
                text: IO[bytes] | gzip.GzipFile = gzip.GzipFile(fileobj=raw) if packed else raw
                for number, line in enumerate(text, 1):
                    if not line.endswith(b"\n"):
                        self.cut_after_line = number - 1
                        return
                    yield number, line.decode()
        except EOFError:
            self.cut_after_line = number
        except (OSError, zlib.error, UnicodeDecodeError) as error:
            what = f"cannot read the record: {getattr(error, 'strerror', None) or error}"
            raise RecordError(what, str(self.path), "check the path, and that the file is a whole copy") from error

    def _read(self, line: str, number: int) -> Header | Entry | None:
        try:
            return self._reader.read(line)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            remedy = "take an unchanged copy, or replay it with the version that wrote it"
            words = " ".join(str(error).split()) or type(error).__name__
            raise RecordError(f"not a line of a record: {words}", f"{self.path}:{number}", remedy) from error


def requests_of(path: Path) -> Iterator[RequestEnded]:
    """The requests of a record as a trace, in the order in which they ended. Raises RecordError."""
    for entry in Record(path):
        if isinstance(entry, RequestEnded):
            yield entry
