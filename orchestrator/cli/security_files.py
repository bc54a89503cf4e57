"""Certificates, keys of TLS and API keys that a configuration names: read before anything starts, as the front door will."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.errors import CliError

if TYPE_CHECKING:
    from orchestrator.core.config import Cluster, Problem
    from orchestrator.frontend.auth import KeyFileError, TlsError


def check_files(cluster: Cluster) -> None:
    """Raises CliError for the first file, or TANDEM_API_KEYS, that the front door could not use."""
    from orchestrator.frontend.auth import KeyFileError, Keyring, Tls, TlsError

    security = cluster.spec.security
    try:
        if security.tls.enabled:
            Tls(security.tls)
        Keyring.load(security.api_keys_file)
    except (TlsError, KeyFileError) as error:
        raise CliError(error.what, error.where, error.do) from None


def problems_of(cluster: Cluster, file: Path) -> list[Problem]:
    """What is wrong with the files that the configuration in `file` names; TANDEM_API_KEYS is no part of it."""
    security = cluster.spec.security
    if not security.tls.enabled and security.api_keys_file is None:
        return []
    from orchestrator.frontend.auth import KeyFileError, Keyring, Tls, TlsError

    found = []
    if security.tls.enabled:
        try:
            Tls(security.tls)
        except TlsError as error:
            found.append(_problem(file, "spec.security.tls", "certFile", error))
    if security.api_keys_file is not None:
        try:
            Keyring(Path(security.api_keys_file))
        except KeyFileError as error:
            found.append(_problem(file, "spec.security.apiKeysFile", "apiKeysFile", error))
    return found


def _problem(file: Path, path: str, key: str, error: TlsError | KeyFileError) -> Problem:
    from orchestrator.core.config import Problem

    lines = file.read_text(errors="replace").splitlines()
    line = next((number for number, text in enumerate(lines, 1) if key in text), 1)
    return Problem(str(file), line, path, error.where, error.what, error.do)
