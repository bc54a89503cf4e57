"""The run directory of a cluster: its state, its logs, where it answers, and the lock that says it runs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.control.problem import StartError

DESIRED = ("cluster", "worker", "endpoint", "policy", "frontdoor", "controller")
"""Kinds of documents that a new start writes afresh."""


class RunDirectory:
    """`path` may not exist yet; `prepare` makes it, readable for its owner only."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()

    @property
    def logs(self) -> Path:
        """Directory of log files, one per process."""
        return self.path / "logs"

    @property
    def cluster_file(self) -> Path:
        """`cluster.json`: where the running cluster answers. Absent when none runs."""
        return self.path / "cluster.json"

    def prepare(self) -> None:
        """Make the directories; raises StartError if that is impossible."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.logs.mkdir(exist_ok=True)
        except OSError as error:
            raise StartError(
                f"cannot make the run directory {self.path}: {error.strerror}", "choose another with --run-dir"
            ) from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory's lock, which ends with this process; raises StartError if another one holds it."""
        with (self.path / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise StartError(
                    f"a cluster runs in {self.path} already (process {file.read().strip() or '?'})",
                    "stop it with `pdctl down`, or choose another directory with --run-dir",
                ) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def lock_holder(self) -> int | None:
        """The process that holds the lock, or None."""
        with contextlib.suppress(FileNotFoundError, ValueError), (self.path / "lock").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read())
        return None

    def read_cluster(self) -> dict[str, Any]:
        """What `cluster.json` says; empty if there is none or it is broken."""
        try:
            document: dict[str, Any] = json.loads(self.cluster_file.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return document

    def write_cluster(self, document: dict[str, Any]) -> None:
        """Replace `cluster.json` in one step."""
        temporary = self.cluster_file.with_suffix(".tmp")
        temporary.write_text(json.dumps(document, indent=2) + "\n")
        temporary.replace(self.cluster_file)
