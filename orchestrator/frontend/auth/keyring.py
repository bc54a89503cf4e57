"""The keys in force: from a file that is read again when it changes, and from the environment."""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from orchestrator.frontend.auth.api_key import ApiKey, KeyRole, digest
from orchestrator.frontend.auth.key_file import KeyFileError, parse_keys

ENVIRONMENT = "TANDEM_API_KEYS"
LOOK_S = 1.0
"""Longest time for which a changed file goes unnoticed."""
_MAX_BYTES = 4 << 20
_log = logging.getLogger(__name__)
_Version = tuple[int, int, int]


class Keyring:
    """Finds the key that a header carries. Without a file and without the variable it is not `enabled`.

    `clock` is monotonic, in seconds. A file that cannot be read any more, or not understood, leaves the last keys in force.
    """

    def __init__(self, file: Path | None, environment: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._clock = clock
        self._given = parse_keys(environment.replace(",", "\n").replace(";", "\n"), ENVIRONMENT)
        self._version: _Version | None = None
        self._next_look_s = 0.0
        self._keys: dict[bytes, ApiKey] = {}
        self.enabled = file is not None or bool(self._given)
        if file is not None:
            _warn_if_world_readable(file)
            self._version = _version(file)
        self._replace(self._read())
        if self.enabled and not any(key.role is KeyRole.OPERATOR for key in self._keys.values()):
            _log.warning("no API key has the role operator: nobody can use pdctl or the Admin service")
        self._next_look_s = clock() + LOOK_S

    @classmethod
    def load(cls, file: str | None) -> Keyring:
        """The keys of `spec.security.apiKeysFile` and TANDEM_API_KEYS; raises KeyFileError."""
        return cls(Path(file) if file else None, os.environ.get(ENVIRONMENT, ""))

    @property
    def names(self) -> set[str]:
        return {key.name for key in self._keys.values()}

    def find(self, authorization: str) -> ApiKey | None:
        """The key of an Authorization header; None for no key, another scheme, and a key that is not ours."""
        self._look()
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        return self._keys.get(digest(key.strip()))

    def _look(self) -> None:
        """Read the file again if it has changed; looks at most every `LOOK_S`."""
        now_s = self._clock()
        if self._file is None or now_s < self._next_look_s:
            return
        self._next_look_s = now_s + LOOK_S
        try:
            version = _version(self._file)
            if version == self._version:
                return
            self._replace(self._read())
            self._version = version
            _log.info("read %s again: %d API keys", self._file, len(self._keys))
        except KeyFileError as error:
            _log.error("API keys stay as they are: %s", error)
            self._next_look_s = now_s + 10 * LOOK_S

    def _read(self) -> list[ApiKey]:
        if self._file is None:
            return self._given
        where = str(self._file)
        try:
            data = self._file.read_bytes()
            text = data.decode()
        except OSError as error:
            raise KeyFileError(*_unreadable(self._file, error)) from None
        except UnicodeDecodeError:
            raise KeyFileError("the file is not UTF-8", where, "save it as UTF-8") from None
        if len(data) > _MAX_BYTES:
            raise KeyFileError(f"the file is larger than {_MAX_BYTES} bytes", where, "is it the right file?")
        keys = parse_keys(text, where)
        if not keys:
            raise KeyFileError("the file holds no API key", where, "add a line: KEY operator NAME")
        return [*keys, *self._given]

    def _replace(self, keys: Iterable[ApiKey]) -> None:
        found: dict[bytes, ApiKey] = {}
        for key in keys:
            if key.digest in found:
                what = f"the key of {key.name} stands in the file and in the environment"
                raise KeyFileError(what, ENVIRONMENT, "delete one of the two")
            found[key.digest] = key
        self._keys = found


def _unreadable(file: Path, error: OSError) -> tuple[str, str, str]:
    if isinstance(error, FileNotFoundError):
        return "there is no such file of API keys", str(file), "create it, or correct spec.security.apiKeysFile"
    return f"API keys cannot be read ({error.strerror})", str(file), "check its permissions"


def _version(file: Path) -> _Version:
    try:
        status = file.stat()
    except OSError as error:
        raise KeyFileError(*_unreadable(file, error)) from None
    return status.st_mtime_ns, status.st_ino, status.st_size


def _warn_if_world_readable(file: Path) -> None:
    try:
        mode = file.stat().st_mode
    except OSError:
        return  # reading it says why
    if mode & stat.S_IROTH:
        _log.warning("%s holds API keys and everybody can read it: run chmod 600 %s", file, file)
