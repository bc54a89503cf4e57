"""The form of API keys in a file or in TANDEM_API_KEYS: `KEY [role] [name] [limit=value ...]`."""

from __future__ import annotations

import re

from orchestrator.frontend.auth.api_key import ApiKey, KeyLimits, KeyRole, digest

HASHED = "sha256:"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LIMITS = {"rpm": "requests_per_minute", "concurrent": "concurrent", "tpm": "tokens_per_minute"}
_FORM = "write KEY [user|operator] [name] [rpm=N] [concurrent=N] [tpm=N]"
_MOST = 1e12


class KeyFileError(Exception):
    """Keys that cannot be used: what is wrong, where, what to do. Never holds a key."""

    def __init__(self, what: str, where: str, do: str) -> None:
        super().__init__(f"{what}; {where}; {do}")
        self.what, self.where, self.do = what, where, do


def parse_keys(text: str, where: str) -> list[ApiKey]:
    """The keys of `text`, one per line; `#` begins a comment. Raises KeyFileError, also for a key that stands twice."""
    keys: list[ApiKey] = []
    seen: dict[bytes, int] = {}
    limits: dict[str, tuple[KeyLimits, int]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        at = f"{where}, line {number}"
        key = _key(words, at)
        if key.digest in seen:
            raise KeyFileError(f"the key stands in line {seen[key.digest]} already", at, "delete one of the two")
        known, first = limits.setdefault(key.name, (key.limits, number))
        if known != key.limits:
            what = f"the keys of {key.name} have other limits than in line {first}"
            raise KeyFileError(what, at, "keys of one name share their limits: write the same, or another name")
        seen[key.digest] = number
        keys.append(key)
    return keys


def _key(words: list[str], at: str) -> ApiKey:
    key, *rest = words
    name, role, limits = "", KeyRole.USER, {}
    for position, word in enumerate(rest):
        field, equals, value = word.partition("=")
        if equals:
            if field not in _LIMITS or _LIMITS[field] in limits:
                raise KeyFileError(f"{field!r} is no limit, or stands twice", at, _FORM)
            limits[_LIMITS[field]] = _amount(field, value, at)
        elif position == 0 and word in KeyRole.__members__.values():
            role = KeyRole(word)
        elif not name and not limits and _NAME.fullmatch(word):
            name = word
        else:
            raise KeyFileError(f"{word!r} is neither a role, a name nor a limit", at, _FORM)
    found = _digest(key, at)
    return ApiKey(found, role, name or f"key-{found.hex()[:8]}", KeyLimits(**limits))  # type: ignore[arg-type]


def _digest(key: str, at: str) -> bytes:
    if not key.startswith(HASHED):
        return digest(key)
    text = key.removeprefix(HASHED).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise KeyFileError("the digest has not 64 hexadecimal digits", at, "make it with: printf %s KEY | sha256sum")
    return bytes.fromhex(text)


def _amount(field: str, value: str, at: str) -> float | int:
    if not value.isascii() or not value.isdigit() or not 0 < int(value[:16]) <= _MOST:
        raise KeyFileError(f"{field}={value} is no whole number above 0", at, _FORM)
    return int(value)
