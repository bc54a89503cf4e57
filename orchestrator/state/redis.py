"""A store in Redis 6.2 or newer, for clusters of several machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from orchestrator.state.base import EVENT_LIMIT, Document, StoreError, Update, decode, encode

TIMEOUT_S = 5.0
MAX_CONFLICTS = 1000

# Sets field ARGV[1] of hash KEYS[1] from ARGV[2] to ARGV[3] and counts the revision KEYS[2]. "" is no document; "*" as
# the old value matches any. Returns 1 if it was done (or nothing had to be), 0 if another writer came first.
_SWAP = """
local now = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if ARGV[2] ~= '*' and now ~= ARGV[2] then return 0 end
if now == ARGV[3] then return 1 end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
redis.call('INCR', KEYS[2])
return 1
"""
_DELETE = """
local gone = redis.call('HDEL', KEYS[1], ARGV[1])
if gone == 1 then redis.call('INCR', KEYS[2]) end
return gone
"""
_APPEND = """
local seq = redis.call('INCR', KEYS[2])
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[2], seq .. '-0', 'body', ARGV[1])
return seq
"""


class RedisStore:
    """A `Store` whose keys start with `{tandem:CLUSTER}`. Every write is one Lua script, so atomic.

    Nothing is retried after a lost connection, because a write may have happened: the caller gets StoreError and
    decides. The next call connects again.
    """

    def __init__(self, url: str, cluster: str) -> None:
        self._prefix = f"{{tandem:{cluster}}}"
        self._revision = f"{self._prefix}:revision"
        self._stream = (f"{self._prefix}:events", f"{self._prefix}:events:last")
        with self._errors():
            self._redis = redis.Redis.from_url(
                url,
                decode_responses=True,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                health_check_interval=30,
                retry=Retry(NoBackoff(), 0),
            )
            self._swap = self._redis.register_script(_SWAP)
            self._delete = self._redis.register_script(_DELETE)
            self._append = self._redis.register_script(_APPEND)
            self._redis.ping()

    def put(self, kind: str, name: str, doc: Mapping[str, Any]) -> None:
        body = encode(doc)
        with self._errors():
            self._swap([self._kind(kind), self._revision], [name, "*", body])

    def get(self, kind: str, name: str) -> Document | None:
        body = self._body(kind, name)
        return decode(body) if body else None

    def delete(self, kind: str, name: str) -> bool:
        with self._errors():
            return bool(self._delete([self._kind(kind), self._revision], [name]))

    def list(self, kind: str) -> dict[str, Document]:
        with self._errors():
            documents = cast(dict[str, str], self._redis.hgetall(self._kind(kind)))
        return {name: decode(documents[name]) for name in sorted(documents)}

    def update(self, kind: str, name: str, fn: Update) -> Document | None:
        for _ in range(MAX_CONFLICTS):
            old = self._body(kind, name)
            doc = fn(decode(old) if old else None)
            new = "" if doc is None else encode(doc)
            with self._errors():
                if self._swap([self._kind(kind), self._revision], [name, old, new]):
                    return decode(new) if new else None
        raise StoreError(f"{kind}/{name} changed {MAX_CONFLICTS} times while it was updated")

    def revision(self) -> int:
        with self._errors():
            return int(cast(str | None, self._redis.get(self._revision)) or 0)

    def check(self) -> None:
        self.revision()

    def restore(self, documents: Mapping[str, Mapping[str, Document]], revision: int) -> None:
        with self._errors(), self._redis.pipeline(transaction=True) as commands:
            for kind, named in documents.items():
                commands.delete(self._kind(kind))
                if named:
                    commands.hset(self._kind(kind), mapping={name: encode(doc) for name, doc in named.items()})
            commands.set(self._revision, revision)
            commands.execute()

    def append_event(self, event: Mapping[str, Any]) -> int:
        body = encode(event)
        with self._errors():
            return int(self._append(list(self._stream), [body, EVENT_LIMIT]))

    def events(self, after: int = 0, limit: int = 1000) -> Sequence[tuple[int, Document]]:
        with self._errors():
            rows: Any = self._redis.xrange(self._stream[0], min=f"{after + 1}-0", count=limit)
        return [(int(entry.partition("-")[0]), decode(fields["body"])) for entry, fields in rows]

    def close(self) -> None:
        with self._errors():
            self._redis.close()

    def _kind(self, kind: str) -> str:
        return f"{self._prefix}:documents:{kind}"

    def _body(self, kind: str, name: str) -> str:
        with self._errors():
            return cast(str | None, self._redis.hget(self._kind(kind), name)) or ""

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (redis.RedisError, OSError, ValueError) as error:
            raise StoreError(f"redis: {error}{_remedy(str(error))}") from error


def _remedy(message: str) -> str:
    """What to do about a Redis that answers and refuses."""
    if "OOM" in message:
        return "; give Redis more memory (maxmemory), nothing is lost meanwhile"
    if "MISCONF" in message:
        return "; free space on the disk of Redis, nothing is lost meanwhile"
    if "READONLY" in message:
        return "; spec.state.url names a replica: name the primary"
    return ""
