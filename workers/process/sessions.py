"""Front doors connected to this worker, and which of them owns each request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from workers.engine.base import Key

ORPHAN_S = 5.0
"""A front door that is gone this long has died; its requests are cancelled."""

Send = Callable[[bytes], None]


@dataclass(slots=True)
class Session:
    """One front door. `send` queues an encoded FromWorker and may be called from the engine thread; None while it is gone."""

    front_door: str
    send: Send | None
    keys: set[Key] = field(default_factory=set)
    lost_at_s: float = 0.0


class Sessions:
    """Used on the engine thread only."""

    def __init__(self) -> None:
        self.by_front_door: dict[str, Session] = {}
        self.owner: dict[Key, Session] = {}

    def open(self, front_door: str, send: Send) -> list[Key]:
        """Bind a new stream; returns the keys of its previous one, which the front door has given up."""
        old = self.by_front_door.pop(front_door, None)
        self.by_front_door[front_door] = Session(front_door, send)
        return self._forget(old)

    def lost(self, front_door: str, send: Send, now_s: float) -> None:
        """The stream ended; ignored if a newer stream has taken its place."""
        session = self.by_front_door.get(front_door)
        if session is not None and session.send is send:
            session.send = None
            session.lost_at_s = now_s

    def orphans(self, now_s: float) -> list[Key]:
        """Keys of front doors that did not come back in time; they are forgotten here."""
        gone = [s for s in self.by_front_door.values() if s.send is None and now_s - s.lost_at_s >= ORPHAN_S]
        keys: list[Key] = []
        for session in gone:
            del self.by_front_door[session.front_door]
            keys += self._forget(session)
        return keys

    def own(self, front_door: str, key: Key) -> None:
        session = self.by_front_door[front_door]
        session.keys.add(key)
        self.owner[key] = session

    def drop(self, key: Key) -> None:
        session = self.owner.pop(key, None)
        if session is not None:
            session.keys.discard(key)

    def _forget(self, session: Session | None) -> list[Key]:
        keys = list(session.keys) if session else []
        for key in keys:
            self.owner.pop(key, None)
        return keys
