"""Opens trace files, plain or gzip, and says in one line what is wrong with those that cannot be read."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from orchestrator.workload.trace import TraceError

GZIP_MAGIC = b"\x1f\x8b"
LONGEST_HEADER = 1 << 20
KNOWN = "give a CSV or JSONL file, `sample`, servegen:RATES_FILE or synthetic:NAME"


@contextmanager
def text_of(file: Path) -> Iterator[TextIO]:
    """The file's text, unpacked as it is read. Errors of reading inside the block become TraceError."""
    try:
        with file.open("rb") as raw:
            packed = raw.peek(2)[:2] == GZIP_MAGIC
            with io.TextIOWrapper(
                gzip.GzipFile(fileobj=raw) if packed else raw, encoding="utf-8-sig", newline=""
            ) as text:
                yield text
    except FileNotFoundError:
        raise TraceError("no such trace", str(file), KNOWN) from None
    except IsADirectoryError:
        raise TraceError("the trace is a directory", str(file), "give one of its files") from None
    except UnicodeDecodeError:
        raise TraceError("the trace is no text", str(file), "check that it is a whole text or gzip file") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        what = f"the gzip file is cut off or damaged: {str(error).rstrip('.')}"
        raise TraceError(what, str(file), "check that it is a whole text or gzip file") from error
    except OSError as error:
        remedy = "check its permissions and the disk"
        raise TraceError(f"cannot read the trace: {error.strerror or error}", str(file), remedy) from error


def first_line(text: TextIO, file: Path) -> tuple[str, int]:
    """The first line that is not blank, and its number. TraceError if there is none or it is no text."""
    number = 0
    while line := text.readline(LONGEST_HEADER):
        number += 1
        if "\0" in line or len(line) >= LONGEST_HEADER:
            raise TraceError("the trace is no text", f"{file}:{number}", "check that it is a whole text or gzip file")
        if line.strip():
            return line, number
    raise TraceError("the trace is empty", f"{file}:1", "give a file with at least one request")
